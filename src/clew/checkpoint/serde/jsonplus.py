"""The serializer that savers with the classic interface have by default: Clew's closed codec, which imports and calls nothing
that the bytes name."""

from typing import Any, Final

from clew.checkpoint.codec import decode, encode
from clew.errors import DatabaseError

TAG: Final = "clew"


class JsonPlusSerializer:
    """Keeps what `clew.checkpoint.codec` keeps, each value as what it was. There is no pickle to fall back to."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """`("clew", bytes)`. Raises UnstorableValue."""
        return TAG, encode(obj)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Raises DatabaseError where another serializer has written it."""
        tag, content = data
        if tag != TAG:
            raise DatabaseError(
                f"A value was written as {tag!r}, which is not something that Clew wrote: expected {TAG!r}. "
                "`clew migrate` reads databases of LangGraph."
            )
        return decode(content)

    def dumps(self, obj: Any) -> bytes:
        """JSON, for what people are to read, such as metadata; what JSON has no word for stands in it as `{"clew": text}`.
        Tuples come back as lists, and keys as strings. Raises UnstorableValue."""
        import json  # late, as is base64: a saver of Clew's own needs neither

        return json.dumps(obj, default=_packed, ensure_ascii=False).encode("utf-8", "surrogatepass")

    def loads(self, data: bytes | str) -> Any:
        """Raises DatabaseError."""
        import json

        try:
            return json.loads(data, object_hook=_unpacked)
        except ValueError as error:
            raise DatabaseError(f"{data[:20]!r}… is not something that Clew wrote ({error}).") from error


def _packed(value: Any) -> dict[str, str]:
    from base64 import b85encode

    return {TAG: b85encode(encode(value)).decode()}


def _unpacked(found: dict[str, Any]) -> Any:
    from base64 import b85decode

    return decode(b85decode(found[TAG])) if found.keys() == {TAG} and isinstance(found[TAG], str) else found
