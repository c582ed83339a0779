"""The four types that flow from `StateGraph` through `compile` to `invoke`: of the state, the context, the input, the output.

Defaults of type variables (PEP 696) are for type checkers here: Python has them from 3.13 on.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    StateT = TypeVar("StateT", default=Any)
    ContextT = TypeVar("ContextT", default=Any)
    InputT = TypeVar("InputT", default=StateT)
    OutputT = TypeVar("OutputT", default=StateT)
else:
    from typing import TypeVar

    StateT = TypeVar("StateT")
    ContextT = TypeVar("ContextT")
    InputT = TypeVar("InputT")
    OutputT = TypeVar("OutputT")
