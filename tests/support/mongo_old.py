"""A thread as Clew wrote it to MongoDB in format 1, when only a pruning made bundles: pruned once, with turns after it, of
which the last waits for an answer."""

import gzip
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, Final, TypedDict

from bson import decode_file_iter

from clew.checkpoint.base import Saver
from clew.checkpoint.mongodb import MongoDBSaver
from clew.checkpoint.moving import digest_of, frames_of
from clew.graph import START, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.types import interrupt

FILE: Final = Path(__file__).with_name("mongo_format_1.bson.gz")
THREAD: Final[dict[str, Any]] = {"configurable": {"thread_id": "old"}}


def _added(before: list[str], more: list[str]) -> list[str]:
    return before + more


class Log(TypedDict):
    log: Annotated[list[str], _added]


def graph_of(saver: Saver) -> CompiledStateGraph:
    """What its turns ran: a graph within asks, and notes the answer."""
    inner = StateGraph(Log)
    inner.add_node("ask", lambda state: {"log": [f"{state['log'][-1]}: {interrupt('well?')}"]})
    inner.add_edge(START, "ask")
    builder = StateGraph(Log)
    builder.add_node("before", lambda state: {"log": [f"before {state['log'][-1]}"]})
    builder.add_node("within", inner.compile())
    builder.add_edge(START, "before")
    builder.add_edge("before", "within")
    return builder.compile(checkpointer=saver)


def put(saver: MongoDBSaver) -> None:
    """Puts its documents into an empty database."""
    saver.setup()
    for one in decode_file_iter(BytesIO(gzip.decompress(FILE.read_bytes()))):
        saver.rows.connected.collection(one["in"]).insert_one(one["is"])


TOLD: Final = 26, "3ee79c594a0786775e56bd846f3200a7c70bb9ae807f983ade16a42de56f52d4"  # as the Clew that wrote it told it


def told(saver: Saver) -> tuple[int, str]:
    """How many checkpoints it has, and what all that it holds is told by."""
    return sum(row.checkpoints for row in saver.storage.threads()), digest_of(frames_of(saver.storage, "old")).hex()
