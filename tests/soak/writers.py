"""Ten processes, one thread, a hundred rounds each, on every backend: no update may be lost.

python -m soak.writers [--only postgres …] [--processes 10] [--rounds 100]
"""

import argparse
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial

from soak.backends import BACKENDS, Backend, backend

from clew.testing.clauses_of_threads import count_up, counts, line


def trial(one: Backend, writers: int, rounds: int) -> tuple[int, int, float]:
    """How many turns were done, how many of them are lost or doubled, and how many were done a second."""
    in_memory = one.name == "memory"  # which is one process's: its threads stand for processes
    pool = ThreadPoolExecutor(writers) if in_memory else ProcessPoolExecutor(writers, multiprocessing.get_context("spawn"))
    with pool:
        began = time.monotonic()
        done = sum(pool.map(partial(count_up, one.make), ["soak"] * writers, [rounds] * writers))
        took = time.monotonic() - began
    with one.make() as saver:
        log = line(saver, ("add", counts)).get_state({"configurable": {"thread_id": "soak"}}).values["log"]
    return (
        done,
        sum(found != expected for found, expected in zip(log, range(done), strict=False)) + abs(len(log) - done),
        done / took,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=list(BACKENDS))
    parser.add_argument("--processes", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=100)
    given = parser.parse_args()
    failed = False
    for name in given.only:
        print(f"{name}: {given.processes} processes, {given.rounds} rounds each …", end=" ", flush=True)
        with backend(name) as one:
            with one.make() as saver:
                saver.setup()
            done, wrong, rate = trial(one, given.processes, given.rounds)
        failed = failed or wrong > 0 or done != given.processes * given.rounds
        print(f"{done} turns, {wrong} lost or doubled, {rate:,.0f} turns/s", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
