"""How graphs run. Users need of it what stands here: what a node finds out about the run that it is part of."""

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from clew.runtime.runtime import ContextT, ExecutionInfo, RunControl, Runtime

__all__ = ["ExecutionInfo", "RunControl", "Runtime", "get_runtime"]


def get_runtime(context_schema: "type[ContextT] | None" = None) -> "Runtime[ContextT]":
    """The `Runtime` of the task now running; `context_schema` is for type checkers only.

    Raises:
        RuntimeError: no task is running here.
    """
    from clew.config import running

    return cast("Runtime[ContextT]", running("get_runtime").runtime)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from clew.runtime import runtime  # late: importing a part of this package need not import all of it

    return getattr(runtime, name)
