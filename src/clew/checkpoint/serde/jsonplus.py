"""The serializer that savers with the classic interface have by default: Clew's closed codec, which imports and calls nothing
that the bytes name."""

from typing import Any, Final

from clew.checkpoint.codec import decode, encode
from clew.errors import DatabaseError

TAG: Final = "clew"


class JsonPlusSerializer:
    """Keeps what `clew.checkpoint.codec` keeps, each value as what it was. There is no pickle to fall back to.

    Args:
        allowed_json_modules, allowed_msgpack_modules: as LangGraph's takes them; they change nothing. Nothing is imported by
            name here: classes are those that a state's schema names, or that were registered.

    Raises:
        ValueError: `pickle_fallback` is asked for.
    """

    def __init__(
        self, *, pickle_fallback: bool = False, allowed_json_modules: Any = None, allowed_msgpack_modules: Any = None
    ) -> None:
        if pickle_fallback:
            raise ValueError(
                "pickle_fallback is True, and what is stored here can run no code: leave it out, and make classes known by "
                "`clew.register(YourClass)` that the state's schema does not name."
            )

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


def must_be_usual(serde: object) -> None:
    """Raises TypeError where a saver of Clew's is given a serializer that it would not use."""
    if not isinstance(serde, JsonPlusSerializer):
        raise TypeError(
            f"serde is {serde!r}, and savers of Clew have a codec of their own. Leave it out. To encrypt, pass "
            "`encryption=Encryption(key)`; a class that the state's schema does not name is made known by "
            "`clew.register(YourClass)`."
        )


def _packed(value: Any) -> dict[str, str]:
    from base64 import b85encode

    return {TAG: b85encode(encode(value)).decode()}


def _unpacked(found: dict[str, Any]) -> Any:
    from base64 import b85decode

    return decode(b85decode(found[TAG])) if found.keys() == {TAG} and isinstance(found[TAG], str) else found
