"""A thread that is at work while others come by."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from clew.checkpoint.base import Saver
from clew.graph import START, StateGraph
from support.faces import Face
from support.graphs import Log, says

Config = dict[str, Any]
SECONDS = 20.0  # after which a test that waits in vain fails


class Meeting:
    """A graph whose first node waits, and a call of it that is at work meanwhile."""

    def __init__(self, face: Face, saver: Saver, thread: Config) -> None:
        self.face, self.saver, self.thread = face, saver, thread
        self.begun, self.may_end, self.queued = threading.Event(), threading.Event(), threading.Semaphore(0)
        self.pool = ThreadPoolExecutor()
        wait = saver.storage.wait

        def waiting(*args: Any) -> bool:
            found = wait(*args)
            self.queued.release()
            return found

        saver.storage.wait = waiting  # pyright: ignore[reportAttributeAccessIssue]

        def slow(state: Log) -> Log:
            if state.get("n") == 1:
                self.begun.set()
                assert self.may_end.wait(SECONDS)
            return {"log": ["slow"]}

        builder = StateGraph(Log).add_sequence([("slow", slow), ("after", says("after"))]).add_edge(START, "slow")
        self.graph = builder.compile(saver)
        self.first = self.calls({"log": ["first"], "n": 1})
        assert self.begun.wait(SECONDS)

    def calls(self, given: Any, **options: Any) -> "Future[Any]":
        """Calls the graph, as another part of the program would."""
        return self.pool.submit(lambda: self.face.invoke(self.graph, given, self.thread, **options))

    def until_queued(self) -> None:
        """Until somebody who waits has asked once more."""
        assert self.queued.acquire(timeout=SECONDS)

    def end(self, *calls: "Future[Any]") -> list[Any]:
        self.may_end.set()
        return [call.result(SECONDS) for call in calls]
