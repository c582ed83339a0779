"""Ids: checkpoints by time, tasks by derivation. Order is never read from them: the sequence number is the order."""

import os
import threading
import time

_lock = threading.Lock()
_last = _own = 0


def _draw() -> None:
    """The random bits of this process's ids, once for all of them: to ask the system takes as long as the rest of an id."""
    global _own
    _own = 2 << 62 | int.from_bytes(os.urandom(4), "big") >> 2 << 32


_draw()
os.register_at_fork(after_in_child=_draw)


def new_checkpoint_id(seq: int = 0) -> bytes:
    """A UUIDv7 (RFC 9562 §5.7) as 16 bytes: 48 bits of milliseconds, 12 of sub-milliseconds (§6.2, method 3), 30 random ones of
    the process (§6.4), and 32 for the sequence number, which is filled in later where it is not known yet (`stamped`).

    Within one process every id is greater than the one before.
    """
    global _last
    ticks = time.time_ns() * 4096 // 1_000_000
    with _lock:
        _last = ticks = max(ticks, _last + 1)
    return _made(ticks, seq)


def checkpoint_id_at(nanoseconds: int) -> bytes:
    """An id as one that was made then, in nanoseconds since 1970."""
    return _made(nanoseconds * 4096 // 1_000_000)


def _made(ticks: int, seq: int = 0) -> bytes:
    high, low = ticks >> 12 << 16 | 7 << 12 | ticks & 0xFFF, _own | seq & 0xFFFF_FFFF
    return high.to_bytes(8, "big") + low.to_bytes(8, "big")  # in halves, as numbers beyond 64 bits cost twice as much


def new_epoch(before: int) -> int:
    """An epoch above `before` that no other run ever has: 41 bits of milliseconds since 1970, 20 random. Below 2**63.

    A thread that was deleted and made anew has no epoch of the old one, so nobody who slept through that can write to it.
    """
    random = int.from_bytes(os.urandom(3), "big") >> 4
    return max(before + 1, (time.time_ns() // 1_000_000) << 20 | random)


def stamped(checkpoint_id: bytes, seq: int) -> bytes:
    """The id with its sequence number in it: so a checkpoint is found by its id without an index of ids."""
    return checkpoint_id[:12] + (seq & 0xFFFF_FFFF).to_bytes(4, "big")


def stamp_of(checkpoint_id: bytes) -> int:
    return int.from_bytes(checkpoint_id[12:], "big")


def created_ms(checkpoint_id: bytes) -> int:
    """When a checkpoint id was made, in milliseconds since 1970."""
    return int.from_bytes(checkpoint_id[:6], "big")


def id_text(checkpoint_id: bytes | bytearray) -> str:
    digits = checkpoint_id.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def id_bytes(text: str) -> bytes | None:
    """The 16 bytes of an id in its usual form, or None where `text` is no id at all."""
    try:
        found = bytes.fromhex(text.replace("-", ""))
    except (ValueError, AttributeError, TypeError):
        return None
    return found if len(found) == 16 else None


def interrupt_id(checkpoint_id: bytes, key: str, slot: str) -> str:
    """The id of a question: of its task, and which of the task's it is."""
    return task_id(checkpoint_id, f"{key}?{slot}").replace("-", "")


def task_id(checkpoint_id: bytes, key: str) -> str:
    """The id of a task: derived from the checkpoint that holds it and its key there, so it is never stored."""
    from hashlib import blake2b  # late: it loads OpenSSL, and ids of tasks are rarely asked for

    digest = blake2b(checkpoint_id + key.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return id_text(digest)
