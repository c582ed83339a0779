"""Two LangGraph graphs in two savers on one database, as in two processes, at work on one thread. Prints what came of it."""

import json
import operator
import sys
import threading
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

from langgraph import graph as lg
from support_savers import opened

from clew.errors import ThreadConflict
from clew.interop.langgraph import as_langgraph_saver


class State(TypedDict):
    log: Annotated[list[str], operator.add]


def graph(saver: Any, act: Callable[[], Any]) -> Any:
    def first(state: State) -> Any:
        return {"log": ["first"]}

    def second(state: State) -> Any:
        act()
        return {"log": ["second"]}

    theirs: Any = lg.StateGraph
    builder = theirs(State).add_node(first).add_node(second)
    return builder.add_edge(lg.START, "first").add_edge("first", "second").compile(checkpointer=as_langgraph_saver(saver))


def in_a_thread(act: Callable[[], Any]) -> None:
    """Where LangGraph does not take it for a part of the run that it is called in."""
    thread = threading.Thread(target=act)
    thread.start()
    thread.join()


def main() -> None:
    config: Any = {"configurable": {"thread_id": "1"}}
    durability, look = sys.argv[1], sys.argv[2] == "looked-at"
    with opened(*sys.argv[3:]) as one, opened(*sys.argv[3:]) as other:
        late = graph(other, lambda: None)
        done: list[Any] = []
        told: list[str] = []

        def overtake() -> None:
            try:
                done.append(late.invoke({"log": ["late"]}, config)["log"])
            except ThreadConflict as error:
                told.append(str(error))
            if look:
                early.get_state(config)  # somebody looks on, where the run that was overtaken is

        early = graph(one, lambda: in_a_thread(overtake))
        try:
            done.append(early.invoke({"log": ["early"]}, config, durability=durability)["log"])
        except ThreadConflict as error:
            told.append(str(error))
        then = [late.get_state(config).values["log"]]
        then.append(graph(one, lambda: None).invoke({"log": ["again"]}, config)["log"])
        then.append(late.invoke({"log": ["more"]}, config)["log"])
    print(json.dumps([done, told, then]))


main()
