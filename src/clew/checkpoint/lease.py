"""Which process a run is in, whether it still lives, and the thread that renews the leases of this process's runs.

A lease is a courtesy: it tells whoever comes by that a thread is being run. Nothing rests on it but politeness: a run whose
lease was taken over cannot write any more, for its epoch is over (DESIGN §5).
"""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

HEARTBEATS: Final = 3
"""How often a lease is renewed before it would have ended."""

IDLE: Final = 60.0
"""Seconds after which the thread looks again where there is nothing to renew; a shorter lease wakes it."""

_process = ""


def this_process() -> str:
    """The machine (its name, this boot of it, its process namespace) and the process (number, start), as one string.

    A number alone is not enough: numbers are used again, and two containers may have the same ones.
    """
    global _process
    if not _process:
        pid = os.getpid()
        _process = f"{_machine()} {pid} {started_at(pid)}"
    return _process


def is_gone(owner: str) -> bool:
    """Whether `owner` is known to have died: a process of this machine that runs no more. Of others nothing is known."""
    machine, pid, started = owner.rsplit(" ", 2)
    if machine != _machine():
        return False
    return started_at(int(pid)) != started


def _machine() -> str:
    parts = [os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")]
    with suppress(OSError), open("/proc/sys/kernel/random/boot_id") as file:
        parts.append(file.read().strip())
    with suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return "/".join(parts)


def started_at(pid: int) -> str:
    """When a process was started, in the system's own count; "" where it runs no more (a zombie does not)."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except FileNotFoundError:
        if os.path.exists("/proc/self/stat"):
            return ""
        return _alive(pid)
    except OSError:
        return "?"
    return "" if fields[0] in "ZX" else fields[19]


def _alive(pid: int) -> str:
    """Where there is no /proc: a signal that does nothing finds out."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except OSError:  # it is somebody else's, so it is there
        return "?"
    return "?"


class _Held:
    """A lease: how often it is renewed, in seconds, and when the next time is, by the monotonic clock."""

    __slots__ = ("due", "every", "renew")

    def __init__(self, every: float, renew: Callable[[], Any]) -> None:
        self.every, self.renew = every, renew
        self.due = time.monotonic() + every


class Leases:
    """The runs of this process that hold a thread, and the one daemon thread that renews their leases."""

    def __init__(self) -> None:
        self._held: dict[bytes, _Held] = {}
        self._coming: set[bytes] = set()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._wakes = 0.0

    def __contains__(self, run: bytes) -> bool:
        return run in self._held or run in self._coming

    def expect(self, run: bytes) -> None:
        """The lease of `run` is on its way to the store, where others of this process may see it before `add` is called."""
        self._coming.add(run)

    def add(self, run: bytes, seconds: float, renew: Callable[[], Any]) -> None:
        """Renews the lease of `run` until `remove`, by calling `renew` in another thread each third of its `seconds`."""
        held = self._held[run] = _Held(seconds / HEARTBEATS, renew)
        self._coming.discard(run)
        if self._thread is None:
            self._wakes = held.due
            self._thread = threading.Thread(target=self._work, name="clew leases", daemon=True)
            self._thread.start()
        elif held.due < self._wakes:
            self._wake.set()

    def remove(self, run: bytes) -> None:
        self._held.pop(run, None)
        self._coming.discard(run)

    def _work(self) -> None:
        while True:
            self._wake.wait(max(0.0, self._wakes - time.monotonic()))
            self._wake.clear()
            now = time.monotonic()
            for held in list(self._held.values()):
                if held.due <= now:
                    held.due = now + held.every
                    with suppress(BaseException):  # the next commit hears of it, or the next heartbeat mends it
                        held.renew()
            self._wakes = min([held.due for held in list(self._held.values())], default=time.monotonic() + IDLE)

    def forget(self) -> None:
        """A forked child has none of its parent's runs, nor its threads."""
        global _process
        _process = ""
        self.__init__()


LEASES: Final = Leases()
os.register_at_fork(after_in_child=LEASES.forget) if hasattr(os, "register_at_fork") else None
