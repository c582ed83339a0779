"""Which functions cannot wait, as far as their code says: they call nothing but what never does.

On the async face those are called on the loop. They cannot tell where they run: to find out takes a call.
"""

import dis
import sys
from collections.abc import Mapping
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType
from typing import Any, Final, cast

from clew.types import Command, Send

HARMLESS: Final = frozenset({
    Command, Send, cast, KeyError, RuntimeError, TypeError, ValueError, abs, all, any, bool, dict, enumerate, float, frozenset,
    getattr, hasattr, int, isinstance, len, list, range, repr, reversed, round, set, str, sum, tuple, type, zip,
})  # fmt: skip
"""What calls no function that it is given, as `sorted` may."""
METHODS: Final = frozenset({"endswith", "lower", "startswith", "strip", "upper"})
"""Those of texts; and `get` of what a function is given first, which is the state."""
UNSEEN: Final = frozenset({"BEFORE_WITH", "CALL_FUNCTION_EX", "IMPORT_NAME", "LOAD_BUILD_CLASS", "LOAD_SPECIAL"})
"""Instructions that call what their names do not say."""
CALLEE: Final = 1 if sys.version_info < (3, 13) else -1
"""Where what is called stands from the PUSH_NULL that says so."""


CALLED_ATTR: Final = sys.version_info >= (3, 12)
"""Whether LOAD_ATTR may say that what it loads is called."""


def is_instant(given: Any) -> bool:
    """Whether a function calls nothing but what is listed here; of anything else nobody knows."""
    function = given.__func__ if type(given) is MethodType else given
    if type(function) is not FunctionType:
        return False
    code = function.__code__
    cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
    return _calls_nothing(code, {**cast("Any", function).__builtins__, **function.__globals__}, cells)


def _calls_nothing(code: CodeType, names: Mapping[str, Any], cells: Mapping[str, CellType]) -> bool:
    steps = list(dis.get_instructions(code))
    for index, step in enumerate(steps):
        before = steps[index - 1]
        if step.opname in UNSEEN:
            return False
        if step.opname == "PUSH_NULL" and not _is_harmless(_content(steps[index + CALLEE], cells)):
            return False
        if step.opname == "LOAD_GLOBAL" and (step.arg or 0) & 1 and not _is_harmless(names.get(step.argval)):
            return False
        if step.opname == "LOAD_METHOD" or (step.opname == "LOAD_ATTR" and CALLED_ATTR and (step.arg or 0) & 1):
            of_state = before.opname.startswith("LOAD_FAST") and before.argval == code.co_varnames[0]
            if step.argval not in METHODS and not (step.argval == "get" and of_state):
                return False
    return all(_calls_nothing(inner, names, cells) for inner in code.co_consts if isinstance(inner, CodeType))


def _content(step: dis.Instruction, cells: Mapping[str, CellType]) -> Any:
    """What a variable of the function around holds."""
    try:
        return cells[step.argval].cell_contents if step.opname == "LOAD_DEREF" else None
    except (KeyError, ValueError):  # one of its own, or not set yet
        return None


def _is_harmless(called: Any) -> bool:
    return type(called) in (type, BuiltinFunctionType, FunctionType) and called in HARMLESS
