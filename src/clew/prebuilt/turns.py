"""What the nodes of the agent do: a turn of the model, the hook before it, the answer as a schema. Each is an object with
`invoke` and `ainvoke`, as a graph takes any node that serves both faces."""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, Final, cast

from clew.engine.writes import Yielded
from clew.errors import WrongFace
from clew.graph.message import REMOVE_ALL_MESSAGES
from clew.graph.node import as_action
from clew.interop.langchain import as_messages
from clew.interop.models import AIMessage, BaseMessage, RemoveMessage, SystemMessage, bare
from clew.prebuilt.injection import key_of
from clew.prebuilt.recalling import is_settled, settled_here
from clew.runtime.host import Action
from clew.runtime.tasks import in_thread
from clew.types import RUNNING, Command

if TYPE_CHECKING:
    from clew.runtime.context import TaskContext

LLM_INPUT: Final = "llm_input_messages"
OUT_OF_STEPS: Final = "Sorry, need more steps to process this request."


class Chooser:
    """The model of a turn: always the same, or what a function `(state, runtime)` returns."""

    def __init__(self, given: Any) -> None:
        self._fixed = None if callable(given) and not hasattr(given, "invoke") else given
        self._choose: Any = given if self._fixed is None else None
        code = getattr(given, "__call__", given)  # noqa: B004  (not asking whether it is callable, but how)
        self._async = inspect.iscoroutinefunction(given) or inspect.iscoroutinefunction(code)

    def choose(self, state: Any) -> Any:
        if self._choose is None:
            return self._fixed
        if self._async:
            raise WrongFace("The model is chosen by an async function: call the agent with `await agent.ainvoke(…)`.")
        return self._choose(state, _task().runtime)

    async def achoose(self, state: Any) -> Any:
        if self._choose is None:
            return self._fixed
        chosen = self._choose(state, _task().runtime)
        return await chosen if self._async else chosen


class Prompt:
    """What stands between the state and the model: nothing, a text before the messages, or what a function makes of the
    state."""

    def __init__(self, given: Any) -> None:
        first = SystemMessage(given) if isinstance(given, str) else given
        self._first = [first] if isinstance(first, BaseMessage) else []
        self._action = None if given is None or self._first else as_action("prompt", given)

    def asked(self, state: Any, messages: list[Any], config: Any) -> Any:
        if self._action is None:
            return [*self._first, *messages]
        if self._action.plain is None:
            raise WrongFace("The prompt is an async function: call the agent with `await agent.ainvoke(…)`.")
        return self._action.plain(_with(state, messages), **_wanted(self._action, config))

    async def aasked(self, state: Any, messages: list[Any], config: Any) -> Any:
        if self._action is None:
            return [*self._first, *messages]
        given, wanted = _with(state, messages), _wanted(self._action, config)
        if self._action.awaited is not None:
            return await self._action.awaited(given, **wanted)
        return await in_thread(cast("Any", self._action.plain), given, **wanted)


class Turn:
    """One turn of the model, given a history that its provider takes; what had to be settled for that is kept.

    Args:
        needed: how many supersteps a turn needs that asks for these calls. again: the tools that may run twice.
    """

    def __init__(
        self, chooser: Chooser, prompt: Any, name: str | None, needed: Callable[[Sequence[Any]], int], again: Collection[str]
    ) -> None:
        self._chooser = chooser
        self._prompt = Prompt(prompt)
        self._name = name
        self._needed = needed
        self._again = again

    def invoke(self, state: Any, config: Any = None) -> Any:
        history, messages = self._given(state)
        model = self._chooser.choose(state)
        answer = model.invoke(self._prompt.asked(state, messages, config), config)
        return self._answered(state, history, answer)

    async def ainvoke(self, state: Any, config: Any = None) -> Any:
        here = is_settled(key_of(state, "messages"))  # otherwise the thread is read, which blocks
        history, messages = self._given(state) if here else await in_thread(self._given, state)
        model = await self._chooser.achoose(state)
        answer = await model.ainvoke(await self._prompt.aasked(state, messages, config), config)
        return self._answered(state, history, answer)

    def _given(self, state: Any) -> tuple[list[Any], list[Any]]:
        """The state's messages, settled, and those that the model is given."""
        history = settled_here(key_of(state, "messages"), self._again)
        instead = _task().scope.value(LLM_INPUT)
        return history, history if instead is None else settled_here(as_messages(instead), self._again)

    def _answered(self, state: Any, history: list[Any], answer: Any) -> dict[str, Any]:
        calls = getattr(answer, "tool_calls", ())
        if calls and _task().left < self._needed(calls):
            answer = AIMessage(OUT_OF_STEPS, id=answer.id)
        if self._name is not None and answer.type == "ai":
            answer = answer.model_copy(update={"name": self._name})
        return {"messages": [*kept_as(state, history), answer]}


class Before:
    """A hook before the turn, which is shown a settled history as well: it may ask a model itself."""

    def __init__(self, given: Any, again: Collection[str]) -> None:
        self._action = as_action("pre_model_hook", given)
        self._again = again

    def invoke(self, state: Any, config: Any = None) -> Any:
        if self._action.plain is None:
            raise WrongFace("The pre_model_hook is async: call the agent with `await agent.ainvoke(…)`.")
        history = settled_here(key_of(state, "messages"), self._again)
        return self._both(state, history, self._action.plain(_with(state, history), **_wanted(self._action, config)))

    async def ainvoke(self, state: Any, config: Any = None) -> Any:
        history = key_of(state, "messages")
        if not is_settled(history):
            history = await in_thread(settled_here, history, self._again)
        given, wanted = _with(state, history), _wanted(self._action, config)
        if self._action.awaited is None:
            return self._both(state, history, await in_thread(cast("Any", self._action.plain), given, **wanted))
        return self._both(state, history, await self._action.awaited(given, **wanted))

    def _both(self, state: Any, history: list[Any], update: Any) -> Any:
        if history is key_of(state, "messages"):
            return update
        updates: list[Any] = update if isinstance(update, Yielded) else [update]
        kept = Command[Any](update={"messages": kept_as(state, history)})
        return [kept, *[one if isinstance(one, Command) else Command[Any](update=one) for one in updates]]


class Structured:
    """The answer as a schema, by one more call of the model.

    Attributes:
        schema: a class, or a JSON Schema.
    """

    def __init__(self, chooser: Chooser, response_format: Any) -> None:
        self._chooser = chooser
        self.schema: Any = response_format
        self._first: list[Any] = []
        if isinstance(response_format, tuple):
            prompt, self.schema = cast("tuple[str, Any]", response_format)
            self._first = [SystemMessage(prompt)]

    def invoke(self, state: Any, config: Any = None) -> Any:
        model = self._shaped(self._chooser.choose(state))
        return {"structured_response": model.invoke([*self._first, *key_of(state, "messages")], config)}

    async def ainvoke(self, state: Any, config: Any = None) -> Any:
        model = self._shaped(await self._chooser.achoose(state))
        return {"structured_response": await model.ainvoke([*self._first, *key_of(state, "messages")], config)}

    def _shaped(self, model: Any) -> Any:
        """Many clients get a shape by a tool that the model is made to call. Some of the newest models cannot be made to."""
        asked = bare(model)
        profile: Mapping[str, Any] = getattr(asked, "profile", None) or {}
        if profile.get("tool_choice") is False and profile.get("structured_output"):
            return asked.with_structured_output(self.schema, method="json_schema")
        return asked.with_structured_output(self.schema)


def kept_as(state: Any, history: list[Any]) -> list[Any]:
    """What a settled history is kept by: results stand in the middle of the list, so all of it is written anew, of which only
    what is new is stored; nothing where it was settled already."""
    if history is key_of(state, "messages"):
        return []
    return [RemoveMessage(id=REMOVE_ALL_MESSAGES), *history]


def _with(state: Any, messages: list[Any]) -> Any:
    """The state with other messages."""
    if messages is key_of(state, "messages"):
        return state
    if isinstance(state, Mapping):
        return {**cast("Mapping[str, Any]", state), "messages": messages}
    other = copy(state)
    other.messages = messages
    return other


def _wanted(action: Action, config: Any) -> dict[str, Any]:
    found = _task().given(action.wants)
    return {**found, "config": config} if "config" in found else found


def _task() -> "TaskContext":
    return cast("TaskContext", RUNNING.get())
