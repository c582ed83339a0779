"""The door to the chat models of `langchain_core`: what the agent asks of a model, and how tools are bound to one.

Like `interop.tools` this imports `langchain_core` as it is loaded; `langchain` itself only where a model is named by a string.
"""

from collections.abc import Sequence
from typing import Any, cast

from clew.errors import GraphError, MissingDependency
from clew.interop.tools import BaseTool
from clew.interop.tools import Runnable as Runnable

try:
    from langchain_core.language_models import BaseChatModel as BaseChatModel
    from langchain_core.messages import AIMessage as AIMessage
    from langchain_core.messages import BaseMessage as BaseMessage
    from langchain_core.messages import RemoveMessage as RemoveMessage
    from langchain_core.messages import SystemMessage as SystemMessage
    from langchain_core.runnables import RunnableSequence
    from langchain_core.runnables.base import RunnableBindingBase
except ImportError as error:  # `interop.tools` has said so already
    raise MissingDependency from error


def model_named(name: str) -> Any:
    """The chat model that `"provider:model"` names. Raises MissingDependency without `langchain`."""
    try:
        from langchain.chat_models import init_chat_model  # pyright: ignore  (need not be installed)
    except ImportError as error:
        raise MissingDependency(
            f"The model {name!r} is named by a string, which takes `langchain`: type `pip install langchain`; or pass a model."
        ) from error
    return init_chat_model(name)  # pyright: ignore


def bound_to(model: Any, tools: Sequence[Any]) -> Any:
    """A model with tools bound to it; one that has some already is left as it is, and must have these.

    Args:
        model: a chat model; or a sequence or a binding with one in it, of which everything else stays.

    Raises:
        GraphError: other tools are bound already, or none can be.
    """
    if not tools and not has_tools(model):
        return model
    found = _bound(model, list(tools))
    if found is None:
        raise GraphError(f"The model {model!r} takes no tools: it has no `bind_tools`. Pass no tools, or another model.")
    return found


def _bound(model: Any, tools: list[Any]) -> Any:
    if isinstance(model, RunnableSequence):
        steps = cast("list[Any]", model.steps)  # pyright: ignore[reportUnknownMemberType]
        for index, step in enumerate(steps):
            if _holds_a_model(step):
                return cast("Any", RunnableSequence)(*steps[:index], _bound(step, tools), *steps[index + 1 :], name=model.name)
        return None
    if isinstance(model, RunnableBindingBase):
        binding: Any = model  # pyright: ignore[reportUnknownVariableType]
        if "tools" in binding.kwargs:
            _check_same(binding.kwargs["tools"], tools)
            return binding
        inner = _bound(binding.bound, tools)
        return inner and binding.__class__(bound=inner, kwargs=binding.kwargs, config=binding.config)
    return model.bind_tools(tools) if hasattr(model, "bind_tools") else None


def has_tools(model: Any) -> bool:
    """Whether tools are bound to a model already."""
    if isinstance(model, RunnableSequence):
        return any(map(has_tools, cast("list[Any]", model.steps)))  # pyright: ignore[reportUnknownMemberType]
    binding = model
    return isinstance(model, RunnableBindingBase) and ("tools" in binding.kwargs or has_tools(binding.bound))


def _holds_a_model(step: Any) -> bool:
    while isinstance(step, RunnableBindingBase):
        step = cast("Any", step).bound
    return hasattr(step, "bind_tools")


def _check_same(bound: Sequence[Any], tools: Sequence[Any]) -> None:
    ours = {tool.name for tool in tools if isinstance(tool, BaseTool)}
    theirs = {name for tool in bound if (name := _name_of(tool))}
    if len(bound) != len(tools) or not ours <= theirs:
        raise GraphError(
            f"The model has the tools {sorted(theirs)} bound to it ({len(bound)}), and the agent is given {sorted(ours)} "
            f"({len(tools)}): bind the same ones, or leave the binding to the agent."
        )


def _name_of(tool: Any) -> str | None:
    """The name of a tool as providers are told of it, whose shapes differ."""
    if not isinstance(tool, dict):
        return getattr(tool, "name", None)
    said = cast("dict[str, Any]", tool)
    function: Any = said.get("function") or said.get("toolSpec") or said
    return function.get("name")


def bare(model: Any) -> Any:
    """The chat model itself, without what is bound to it or stands around it."""
    if isinstance(model, RunnableSequence):
        steps = cast("list[Any]", model.steps)  # pyright: ignore[reportUnknownMemberType]
        return next((bare(step) for step in steps if _holds_a_model(step)), cast("Any", model))
    return bare(cast("Any", model).bound) if isinstance(model, RunnableBindingBase) else model
