"""The threads that plain code runs in: as many as wait for one another, whatever came before."""

import threading
from collections.abc import Callable
from queue import SimpleQueue

import pytest

from clew.pool import Pool

MANY = 3 * Pool.IDLE


def test_jobs_that_wait_for_one_another_all_run() -> None:
    pool = Pool()
    for _ in range(2):  # with threads that are made, and with some that are kept
        met, ended = threading.Barrier(MANY, timeout=30), SimpleQueue[int]()
        for _ in range(MANY):
            pool.run(lambda met=met, ended=ended: ended.put(met.wait()))
        assert sorted(ended.get(timeout=30) for _ in range(MANY)) == [*range(MANY)]


def test_jobs_may_wait_for_jobs_that_they_begin() -> None:
    pool, ended = Pool(), SimpleQueue[int]()

    def job(depth: int, told: Callable[[int], None]) -> None:
        if depth == MANY:
            told(depth)
            return
        inner: SimpleQueue[int] = SimpleQueue()
        pool.run(lambda: job(depth + 1, inner.put))
        told(inner.get(timeout=30))

    for _ in range(2):
        pool.run(lambda: job(0, ended.put))
    assert [ended.get(timeout=30), ended.get(timeout=30)] == [MANY, MANY]


def test_where_no_thread_can_be_had_the_caller_hears_of_it_and_later_jobs_run(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, ended = Pool(), SimpleQueue[str]()

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match=r"no more threads \(can't start new thread\); \d+ are at work.*max_concurrency"):
            pool.run(lambda: ended.put("first"))
    pool.run(lambda: ended.put("second"))
    assert ended.get(timeout=30) == "second"
