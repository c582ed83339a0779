"""A serializer that encrypts what another one makes, for savers with the classic interface.

Savers of Clew's own take `encryption=`, which does more: it binds each row to its place, and leaves neither metadata nor the
names of keys readable. Here values that somebody swaps within a database stay unseen.
"""

import os
from typing import Any, Final, Self

from clew.checkpoint.serde.base import CipherProtocol, SerializerProtocol
from clew.checkpoint.serde.jsonplus import JsonPlusSerializer
from clew.errors import DatabaseError, MissingDependency

VARIABLE: Final = "LANGGRAPH_AES_KEY"
NONCE: Final = 12


class EncryptedSerializer:
    """Keeps values encrypted, with the cipher's name behind the word for what they are: `"clew+aes-gcm"`.

    What is not encrypted is refused: whoever can write to the database could otherwise put there what they like.

    Args:
        cipher: encrypts and decrypts. serde: makes the bytes; default: a `JsonPlusSerializer`.
    """

    def __init__(self, cipher: CipherProtocol, serde: SerializerProtocol | None = None) -> None:
        self.cipher = cipher
        self.serde: SerializerProtocol = serde or JsonPlusSerializer()

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """The value's bytes, encrypted. Raises what `serde` does."""
        tag, content = self.serde.dumps_typed(obj)
        name, sealed = self.cipher.encrypt(content)
        return f"{tag}+{name}", sealed

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Raises DatabaseError where it is not encrypted, was altered, or was encrypted with another key."""
        tag, parted, name = data[0].partition("+")
        if not parted:
            raise DatabaseError(
                f"A value was written as {tag!r}, which is not encrypted: expected {tag}+ and a cipher. It was kept before "
                "there was a key, or somebody put it there; read it with the serializer that wrote it, and keep it anew."
            )
        return self.serde.loads_typed((tag, self.cipher.decrypt(name, data[1])))

    @classmethod
    def from_pycryptodome_aes(cls, serde: SerializerProtocol | None = None, *, key: bytes | None = None) -> Self:
        """AES with a key of 16, 24 or 32 bytes; default: the text of the variable `LANGGRAPH_AES_KEY`, as UTF-8.

        The name is the one that people know: what encrypts is AES-GCM of the package `cryptography`.

        Raises:
            ValueError: there is no key, or it has another length. MissingDependency: the package is not installed.
        """
        if key is None:
            if not (said := os.environ.get(VARIABLE, "")):
                raise ValueError(f"There is no key: pass key=, as from `secrets.token_bytes(32)`, or set {VARIABLE}.")
            key = said.encode()
        return cls(_AesGcm(key), serde)


class _AesGcm:
    def __init__(self, key: bytes) -> None:
        try:
            from cryptography.exceptions import InvalidTag
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError as error:
            raise MissingDependency("Encryption needs the package `cryptography`: pip install 'clew[encryption]'.") from error
        if len(key) not in (16, 24, 32):
            raise ValueError(f"The key has {len(key)} bytes: expected 16, 24 or 32, as from `secrets.token_bytes(32)`.")
        self._invalid = InvalidTag
        self._aes = AESGCM(key)

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        nonce = os.urandom(NONCE)
        return "aes-gcm", nonce + self._aes.encrypt(nonce, plaintext, None)

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        if ciphername != "aes-gcm":
            raise DatabaseError(
                f"A value was encrypted with {ciphername!r}: expected 'aes-gcm'. Use the cipher that it was kept with."
            )
        try:
            return self._aes.decrypt(ciphertext[:NONCE], ciphertext[NONCE:], None)
        except (self._invalid, ValueError):
            raise DatabaseError("An encrypted value cannot be opened: it was altered, or the key is another.") from None
