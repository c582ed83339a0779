"""What a serializer is. Nothing here knows how one works."""

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class SerializerProtocol(Protocol):
    """Turns objects into bytes with a word for what they are, and back."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]: ...
    def loads_typed(self, data: tuple[str, bytes]) -> Any: ...


class Untyped:
    """A serializer that has only `dumps` and `loads`, such as the `json` and `pickle` modules, with the class as the word."""

    def __init__(self, serde: Any) -> None:
        self.serde = serde

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        return type(obj).__name__, self.serde.dumps(obj)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        return self.serde.loads(data[1])


def typed(serde: Any) -> SerializerProtocol:
    """The serializer, made one that says what the bytes are where it does not."""
    return serde if isinstance(serde, SerializerProtocol) else Untyped(serde)


class CipherProtocol(Protocol):
    """Encrypts bytes, and says by which name whoever decrypts them is to ask for it."""

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]: ...
    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes: ...
