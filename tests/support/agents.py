"""A chat model for tests of the agent: what it says follows from what it is given, and it refuses what a provider would. And a
shop whose tools count what they do."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import BaseTool, InjectedToolCallId, tool
from pydantic import Field

from support.histories import problems_for_anthropic, problems_for_openai


def problems(messages: Sequence[BaseMessage]) -> list[str]:
    """Why some provider would refuse this history."""
    return problems_for_anthropic(messages) + problems_for_openai(messages)


class Thinker(BaseChatModel):
    """Calls what the last human message lists, as in `buy tea, buy cup`, all at once; then says what came of it.

    Attributes:
        seen: what it was given, one list for each time. bound: the names of the tools that were bound to it then.
    """

    seen: list[list[BaseMessage]] = Field(default_factory=list[list[BaseMessage]])
    bound: list[list[Any]] = Field(default_factory=list[list[Any]])

    @property
    def _llm_type(self) -> str:
        return "thinker"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        named: list[Any] = [
            one if isinstance(one, dict) else {"type": "function", "function": {"name": one.name}} for one in tools
        ]
        return self.bind(tools=named, **kwargs)

    def with_structured_output(self, schema: Any, **kwargs: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        def shaped(messages: list[BaseMessage]) -> Any:
            self._take(messages, [])
            said = messages[-1].text
            return schema(said=said) if isinstance(schema, type) else {"said": said}

        return RunnableLambda(shaped)

    def _take(self, messages: list[BaseMessage], tools: list[Any]) -> None:
        self.seen.append(messages)
        self.bound.append([tool.get("function", tool).get("name", tool) for tool in tools])
        if found := problems(messages):
            raise ValueError(f"refused: {found}")

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        self._take(messages, kwargs.get("tools", []))
        last = max(index for index, message in enumerate(messages) if message.type == "human")
        since = messages[last + 1 :]
        asked = [part.split() for part in messages[last].text.split(", ")]
        id = f"{messages[last].id} {len(since)}"
        if since or not kwargs.get("tools") or not all(len(words) == 2 for words in asked):
            said = AIMessage(" and ".join(one.text for one in since if one.type == "tool") or "hello", id=id)
        else:
            calls = [{"name": name, "args": {"what": what}, "id": f"{what}-{last}"} for name, what in asked]
            said = AIMessage("", tool_calls=calls, id=id)
        return ChatResult(generations=[ChatGeneration(message=said)])


def shop(done: Counter[str]) -> list[BaseTool]:
    """Tools that can be seen at work: `done` counts each thing that was bought or sold."""

    @tool
    def buy(what: str, id: Annotated[str, InjectedToolCallId]) -> ToolMessage:
        """Buys something."""
        done[id] += 1
        return ToolMessage(f"bought {what}", tool_call_id=id, id=f"result {id}")

    @tool
    async def order(what: str, id: Annotated[str, InjectedToolCallId]) -> ToolMessage:
        """Buys something, awaited."""
        done[id] += 1
        return ToolMessage(f"bought {what}", tool_call_id=id, id=f"result {id}")

    return [buy, order]
