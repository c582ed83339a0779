"""A chat model for the examples that needs no key and no network: a rule says what it answers.

It is a model like any other: it calls tools and answers in a shape. Nothing of one example belongs here.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool

Rule = Callable[[Sequence[BaseMessage], list[str]], AIMessage]


def find_model(name: str, rule: Rule, pace: float = 0.0) -> BaseChatModel:
    """The model of an example: `offline`, or one as LangChain names it, such as `anthropic:claude-sonnet-5-5`.

    Args:
        rule: what the offline model answers, given the conversation and the names of its tools.
        pace: seconds that it takes for an answer.
    """
    if name == "offline":
        return Offline(rule=rule, pace=pace)
    try:
        from langchain.chat_models import init_chat_model

        return init_chat_model(name)
    except (ImportError, ValueError) as error:
        raise SystemExit(f"The model {name!r} cannot be had: {error}") from error


class Offline(BaseChatModel):
    """Answers by a rule."""

    rule: Rule
    pace: float

    @property
    def _llm_type(self) -> str:
        return "offline"

    def bind_tools(self, tools: Sequence[Any], **options: Any) -> Runnable[Any, AIMessage]:
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools])  # pyright: ignore[reportReturnType]

    def with_structured_output(self, schema: Any, *, include_raw: bool = False, **options: Any) -> Runnable[Any, Any]:
        return super().with_structured_output(schema, include_raw=include_raw)  # in its own way, whatever the method

    def _generate(self, messages: list[BaseMessage], *args: Any, tools: Sequence[Any] = (), **options: Any) -> ChatResult:
        time.sleep(self.pace)
        answer = self.rule(messages, [tool["function"]["name"] for tool in tools])
        return ChatResult(generations=[ChatGeneration(message=answer)])
