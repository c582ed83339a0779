"""Which conversations a provider refuses: its rules over what it is sent, and over LangChain's messages as they are sent.

The stand-ins answer 400 by the same rules. Only what the history itself breaks belongs here: keys, models and tools do not.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

Sent = dict[str, Any]
IDENTIFIER: Final = re.compile(r"[a-zA-Z0-9_-]+")
AUTHOR: Final = re.compile(r"[^\s<|\\/>]+")
NEXT: Final[Sent] = {"role": "user", "content": "and then?"}  # a thread at rest ends with the model; what is sent does not


def problems_for_anthropic(messages: Sequence[BaseMessage]) -> list[str]:
    """Why Anthropic would refuse this history once the user has said the next thing; empty where it would not."""
    sent = as_sent_to_anthropic(messages)
    return refused_by_anthropic([*sent, NEXT] if sent and sent[-1]["role"] == "assistant" else sent)


def problems_for_openai(messages: Sequence[BaseMessage]) -> list[str]:
    """Why OpenAI would refuse this history once the user has said the next thing; empty where it would not."""
    sent = [_openai_message_of(message) for message in messages]
    return refused_by_openai([*sent, NEXT] if sent and sent[-1]["role"] == "assistant" else sent)


def as_sent_to_anthropic(messages: Sequence[BaseMessage]) -> list[Sent]:
    """Turns as the client sends them: what the user and the tools said in a row is one turn; an empty answer is left out."""
    turns: list[Sent] = []
    for message in messages:
        if message.type == "system":  # stands beside the messages
            continue
        role, content = "assistant" if isinstance(message, AIMessage) else "user", _anthropic_blocks(message)
        if role == "assistant" and not content:
            continue
        if role == "user" and turns and turns[-1]["role"] == "user":
            turns[-1]["content"] += content
        else:
            turns.append({"role": role, "content": content})
    return turns


def _anthropic_blocks(message: BaseMessage) -> list[Sent]:
    if isinstance(message, ToolMessage):
        return [{"type": "tool_result", "tool_use_id": _rewritten(message.tool_call_id), "content": message.content}]
    found = blocks(message.content)
    if not isinstance(message.content, str):  # blank blocks are left out, a blank string is not
        found = [block for block in found if block["type"] != "text" or block["text"].strip()]
    if not isinstance(message, AIMessage):
        return found
    named = {block["id"] for block in found if block["type"] == "tool_use"}
    calls = [call for call in message.tool_calls if call["id"] not in named]
    return found + [
        {"type": "tool_use", "id": _rewritten(call["id"]), "name": call["name"], "input": call["args"]} for call in calls
    ]


def _rewritten(id_: str | None) -> str:
    """Ids of other providers are made to fit."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", id_ or "")


def _openai_message_of(message: BaseMessage) -> Sent:
    sent: Sent = {"role": {"human": "user", "ai": "assistant"}.get(message.type, message.type), "content": message.content}
    if message.name is not None and message.type != "tool":
        sent["name"] = message.name
    if isinstance(message, ToolMessage):
        sent["tool_call_id"] = message.tool_call_id
    if isinstance(message, AIMessage) and (calls := [*message.tool_calls, *message.invalid_tool_calls]):
        sent["tool_calls"] = [{"id": call["id"], "function": {"name": call["name"]}} for call in calls]
    return sent


def blocks(content: Any) -> list[Sent]:
    """The blocks of a content; a string is one, an empty string none."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return [{"type": "text", "text": block} if isinstance(block, str) else block for block in content or ()]


def text_of(content: Any) -> str:
    """What a content says, without whatever is not text."""
    return " ".join(block["text"] for block in blocks(content) if block["type"] == "text")


def refused_by_anthropic(messages: list[Sent]) -> list[str]:
    """What Anthropic's API refuses of the `messages` of a request, in order."""
    if not messages:
        return ["messages: at least one message is required"]
    found: list[str] = []
    if messages[0]["role"] != "user":
        found.append("messages: first message must use the user role")
    asked: set[str] = set()
    for index, message in enumerate(messages):
        if message["role"] not in ("user", "assistant"):
            found.append(f"messages.{index}.role: expected user or assistant")
            continue
        before, after = messages[index - 1] if index else None, messages[index + 1] if index + 1 < len(messages) else None
        found += _contents(index, message, last=after is None)
        found += _calls(index, message, after, asked) if message["role"] == "assistant" else _results(index, message, before)
    return found


def _contents(index: int, message: Sent, *, last: bool) -> Iterator[str]:
    given = blocks(message["content"])
    if not given and not (last and message["role"] == "assistant"):
        yield f"messages.{index}: all messages must have non-empty content except for the optional final assistant message"
    texts = [block["text"] for block in given if block["type"] == "text"]
    if not all(text.strip() for text in texts):
        yield f"messages.{index}: text content blocks must contain non-whitespace text"
    if last and message["role"] == "assistant" and texts and texts[-1] != texts[-1].rstrip():
        yield f"messages.{index}: final assistant content cannot end with trailing whitespace"


def _calls(index: int, message: Sent, after: Sent | None, asked: set[str]) -> Iterator[str]:
    uses = [block for block in blocks(message["content"]) if block["type"] == "tool_use"]
    for use in uses:
        for key in ("id", "name"):
            if not IDENTIFIER.fullmatch(use[key] or ""):
                yield f"messages.{index}.tool_use.{key}: {use[key]!r} should match pattern '^[a-zA-Z0-9_-]+$'"
        if use["id"] in asked:
            yield f"messages.{index}: `tool_use` ids must be unique, {use['id']} is not"
        asked.add(use["id"])
    answered: list[str] = []
    if after is not None and after["role"] == "user":
        for block in blocks(after["content"]):
            if block["type"] != "tool_result":
                break  # results come first in their turn
            answered.append(block["tool_use_id"])
    if missing := [use["id"] for use in uses if use["id"] not in answered]:
        listed = ", ".join(missing)
        yield f"messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after: {listed}"


def _results(index: int, message: Sent, before: Sent | None) -> Iterator[str]:
    asked = [block["id"] for block in blocks(before["content"]) if block["type"] == "tool_use"] if before else []
    given: set[str] = set()
    for block in blocks(message["content"]):
        if block["type"] == "tool_use":
            yield f"messages.{index}: `tool_use` blocks can only be in `assistant` messages"
        if block["type"] != "tool_result":
            continue
        if block["tool_use_id"] not in asked:
            yield f"messages.{index}: unexpected `tool_use_id` found in `tool_result` blocks: {block['tool_use_id']}"
        elif block["tool_use_id"] in given:
            yield f"messages.{index}: each tool_use must have a single result, {block['tool_use_id']} has several"
        given.add(block["tool_use_id"])


def refused_by_openai(messages: list[Sent]) -> list[str]:
    """What OpenAI's chat completions API refuses of the `messages` of a request, in order."""
    if not messages:
        return ["Invalid 'messages': empty array. Expected an array with minimum length 1."]
    found: list[str] = []
    waiting: dict[str, bool] = {}  # the calls of the last answer, each with whether its result was there
    for index, message in enumerate(messages):
        if message["role"] == "tool":
            found += _openai_result(index, message, waiting)
            continue
        found += _unanswered(waiting)
        waiting = {call["id"]: False for call in message.get("tool_calls") or ()}
        found += _openai_message(index, message)
    return [*found, *_unanswered(waiting)]


def _openai_result(index: int, message: Sent, waiting: dict[str, bool]) -> Iterator[str]:
    named = message.get("tool_call_id")
    if not waiting:
        yield f"messages[{index}]: messages with role 'tool' must be a response to a preceding message with 'tool_calls'."
    elif named not in waiting:
        yield f"messages[{index}]: 'tool_call_id' of '{named}' not found in 'tool_calls' of previous message."
    elif waiting[named]:
        yield f"messages[{index}]: Duplicate value for 'tool_call_id' of '{named}' in message with role 'tool'."
    else:
        waiting[named] = True


def _unanswered(waiting: dict[str, bool]) -> Iterator[str]:
    if missing := [call for call, answered in waiting.items() if not answered]:
        yield (
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
            f"The following tool_call_ids did not have response messages: {', '.join(missing)}"
        )


def _openai_message(index: int, message: Sent) -> Iterator[str]:
    if message["role"] not in ("system", "developer", "user", "assistant"):
        yield f"Invalid value: '{message['role']}'. messages[{index}].role is none of those there are."
    calls = message.get("tool_calls")
    if calls is not None and not calls:
        yield f"Invalid 'messages[{index}].tool_calls': empty array."
    if message.get("content") is None and not calls:
        yield f"Invalid value for 'content': messages[{index}] expected a string, got null."
    if "name" in message and not AUTHOR.fullmatch(message["name"] or ""):
        yield f"Invalid 'messages[{index}].name': string does not match pattern '^[^\\s<|\\\\/>]+$'."
    for call in calls or ():
        if not call["id"] or len(call["id"]) > 40:
            yield f"Invalid 'messages[{index}].tool_calls[].id': {call['id']!r} is not a string of 1 to 40 characters."
        if not IDENTIFIER.fullmatch(call["function"]["name"]):
            yield f"Invalid 'messages[{index}].tool_calls[].function.name': {call['function']['name']!r} does not match."
