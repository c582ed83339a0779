"""What `interrupt` does inside a task: the answer on record is delivered, or the task is paused."""

import warnings
from collections.abc import Callable
from hashlib import blake2b
from types import CodeType
from typing import Any, NamedTuple, cast

from clew.checkpoint.codec import encode
from clew.errors import GraphInterrupt, InterruptMismatch, OutcomeUnknown, QuestionChanged
from clew.types import UNKNOWN, Answer, Question


class Asking(NamedTuple):
    """One `interrupt` call: which of the task's it is, what it asks, and with which code.

    `read` makes of the answer what the caller gets, in place of a schema.
    """

    slot: str
    value: Any
    named: bool
    schema: Any
    strict: bool
    code: CodeType
    read: Callable[[Any], Any] | None = None


class Rejected(Exception):
    """The answer does not fit the question, which is open again."""

    def __init__(self, question: Question, error: Exception) -> None:
        self.question, self.error = question, error


def ask(answer: Answer | None, asking: Asking, node: str) -> Any:
    """The answer on record, as the question wants it.

    Raises:
        GraphInterrupt: there is none yet. Rejected: it does not fit. InterruptMismatch: it was given to another question, which
            other code asked.
    """
    asked = blake2b(encode(asking.value), digest_size=16).digest()
    question = Question(asking.slot, asking.value, asked, digest_of(asking.code), _json_schema(asking.schema))
    if answer is None:
        raise GraphInterrupt(question)
    if answer.asked not in (asked, UNKNOWN) and not asking.named:
        _reads_differently(answer, question, asking.strict, node)
    read = asking.read
    if read is None and (asking.schema is None or isinstance(asking.schema, dict)):
        return answer.value
    try:
        return read(answer.value) if read else _adapter(asking.schema).validate_python(answer.value)
    except (ValueError, OutcomeUnknown) as error:
        raise Rejected(question, error) from None


def _reads_differently(answer: Answer, question: Question, strict: bool, node: str) -> None:
    if strict or answer.code not in (question.code, UNKNOWN):
        raise InterruptMismatch(
            f"Node {node!r} asks {question.value!r}, and the answer on record was given to another question, which stood here "
            "before the code was changed. It was not delivered. Ask anew with a new input or `update_state`; to let a "
            "question keep its answer wherever it moves, name it: `interrupt(…, key='approve-mail')`."
        )
    warnings.warn(
        f"Node {node!r} asks {question.value!r} by now, which reads differently from what was answered; the answer was "
        "delivered, as the same code asks it. `interrupt(…, strict=True)` refuses that.",
        QuestionChanged,
        stacklevel=5,
    )


def digest_of(code: CodeType) -> bytes:
    """What a function does, as far as its code says: its instructions, names and constants, those within it included."""
    constants = [digest_of(found) if isinstance(found, CodeType) else repr(found).encode() for found in code.co_consts]
    return blake2b(b"\0".join([code.co_code, repr(code.co_names).encode(), *constants]), digest_size=16).digest()


def _json_schema(schema: Any) -> Any:
    return cast("Any", schema) if schema is None or isinstance(schema, dict) else _adapter(schema).json_schema()


def _adapter(schema: Any) -> Any:
    from clew.interop.pydantic import TypeAdapter  # late: few questions have a schema

    return TypeAdapter(schema)
