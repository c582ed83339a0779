"""Keys, and what is done with them: bytes are sealed, so that nobody without a key can read them, or alter or move them unseen.

What is sealed is bound to a place, which is given as bytes; what places there are is the business of `sealed`. The seal is
AES-256-GCM of the `cryptography` package, with a nonce of 96 random bits. Each thread has a key of its own, derived from the
user's: so one key may seal some 2**32 rows of every thread before a nonce is likely to come twice.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final, Self

from clew.errors import MissingDependency, MissingKey

KeyFor = Callable[[str], bytes | Sequence[bytes] | None]

SEALED: Final = b"\xc1\x01"  # a byte that msgpack never uses, and the format
ID: Final = 4  # bytes that tell keys apart
NONCE: Final = 12
HEAD: Final = len(SEALED) + ID + NONCE
SIZES: Final = (16, 24, 32)
THREADS: Final = 256  # whose derived keys are remembered


class Encryption:
    """Encrypts what a saver keeps: `SqliteSaver("chat.db", encryption=Encryption(key))`.

    All keys open, and the first one seals: a new key goes before the old ones, and `saver.reseal()` seals anew what they have
    sealed; then they can be left out.

    Args:
        keys: 16, 24 or 32 random bytes each, as from `secrets.token_bytes(32)`.
        key_for: the keys of a thread, the first one seals; asked at each access to the thread, in the thread that runs, so it
            should remember what it has asked others for. Where it returns None or nothing, the thread's key is gone: nobody can
            read it, and it can still be listed and deleted. `keys` then only open what was sealed before there was `key_for`.

    Raises:
        ValueError: there is no key, or one has another length. TypeError: a key is not bytes.
        MissingDependency: the package `cryptography` is not installed.
    """

    def __init__(self, *keys: bytes, key_for: KeyFor | None = None) -> None:
        if not keys and key_for is None:
            raise ValueError("Encryption() has no key: pass one, as in Encryption(key), or `key_for=`.")
        self._keys = tuple(checked(key) for key in keys)
        self._key_for = key_for
        _cryptography()

    @classmethod
    def from_env(cls, name: str = "CLEW_KEY") -> Self:
        """The keys in an environment variable: hexadecimal digits, several keys with commas between, the current one first.

        Raises:
            ValueError: it is not set, or holds something else.
        """
        said = os.environ.get(name, "")
        if not said:
            raise ValueError(
                f"The environment has no {name}: make a key with `python -c 'import secrets; print(secrets.token_hex(32))'`, "
                f"keep it safe, and set {name} to it."
            )
        keys = [key.strip() for key in said.split(",")]
        for number, key in enumerate(keys, 1):  # what was found is a secret, or nearly one: it is not shown
            if not re.fullmatch("[0-9a-fA-F]+", key) or len(key) / 2 not in SIZES:
                raise ValueError(
                    f"Key {number} in {name} has {len(key)} characters: expected 32, 48 or 64 hexadecimal digits, and commas "
                    "between keys."
                )
        return cls(*map(bytes.fromhex, keys))

    def ring(self, thread: str) -> Ring:
        """The keys of a thread. Raises MissingKey where it has none."""
        if self._key_for is None:
            return _ring(thread, self._keys)
        given = self._key_for(thread)
        own = tuple(checked(key) for key in ((given,) if isinstance(given, bytes) else given or ()))
        if not own:
            raise MissingKey(
                f"Thread {thread!r} has no key: `key_for` returned {given!r}. What the thread holds cannot be read by anybody; "
                f"`saver.delete_thread({thread!r})` removes it."
            )
        return _ring(thread, own + self._keys)


def checked(key: Any) -> bytes:
    if not isinstance(key, bytes):
        raise TypeError(
            f"A key is bytes, got {type(key).__name__}: for hexadecimal digits write Encryption(bytes.fromhex(…)); a password "
            "is no key."
        )
    if len(key) not in SIZES:
        raise ValueError(f"A key has 16, 24 or 32 bytes, got {len(key)}: make one with `secrets.token_bytes(32)`.")
    return key


def is_sealed(data: object) -> bool:
    """Whether this looks sealed; whoever writes to a SQLite file may put something else there than bytes."""
    return isinstance(data, bytes) and data.startswith(SEALED)


class Broken(Exception):
    """Bytes are not what was sealed at this place. Never leaves the rooms of savers."""


class Ring:
    """The keys of one thread.

    Attributes:
        current: the id of the one that seals.
    """

    __slots__ = ("_ciphers", "current", "thread")

    def __init__(self, thread: str, keys: tuple[bytes, ...]) -> None:
        aead, derived = _cryptography()
        name = thread.encode("utf-8", "surrogatepass")
        self.thread = thread
        ids = [derived(key, ID, b"clew key") for key in keys]
        own = [aead(derived(key, 32, b"clew thread " + name)) for key in keys]
        self._ciphers = dict(zip(ids, own, strict=True))
        self.current = ids[0]

    def seal(self, data: bytes, place: bytes) -> bytes:
        nonce = os.urandom(NONCE)
        return b"".join((SEALED, self.current, nonce, self._ciphers[self.current].encrypt(nonce, data, SEALED + place)))

    def open(self, data: bytes, place: bytes) -> bytes:
        """What was sealed. Raises Broken; MissingKey where it was sealed with another key."""
        cipher = self._ciphers.get(data[len(SEALED) : HEAD - NONCE])
        if cipher is None:
            if len(data) < HEAD:
                raise Broken
            raise MissingKey(
                f"Thread {self.thread!r} is sealed with the key {key_id(data).hex()}, and those given are "
                f"{', '.join(id_.hex() for id_ in self._ciphers)}: give it as well, as in Encryption(current, older)."
            )
        try:
            return cipher.decrypt(data[HEAD - NONCE : HEAD], data[HEAD:], SEALED + place)
        except Exception as error:  # InvalidTag, or ValueError where there is too little
            raise Broken from error


_ring = lru_cache(THREADS)(Ring)


def key_id(data: bytes) -> bytes:
    """Which key has sealed these bytes."""
    return data[len(SEALED) : len(SEALED) + ID]


def refuse_sealed(data: bytes) -> None:
    """Raises MissingKey where bytes that ought to be plain are sealed."""
    if is_sealed(data):
        raise MissingKey(
            f"What is kept here is sealed, with the key {key_id(data).hex()}, and the saver has no key: open it with "
            "`encryption=`, as in SqliteSaver(path, encryption=Encryption(key)); the `clew` command takes it from CLEW_KEY."
        )


@lru_cache(1)
def _cryptography() -> tuple[Callable[[bytes], Any], Callable[[bytes, int, bytes], bytes]]:
    """What of the package is used; it is loaded by whoever encrypts something."""
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    except ImportError as error:
        raise MissingDependency("Encryption needs the package `cryptography`: `pip install clew[encryption]`.") from error

    def derived(key: bytes, size: int, purpose: bytes) -> bytes:
        return HKDF(SHA256(), size, None, purpose).derive(key)

    return AESGCM, derived
