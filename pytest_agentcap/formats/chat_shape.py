"""Messages and tools as chat templates take them: what TRL trains on, and `apply_chat_template` renders."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pytest_agentcap.conversation.model import (
    Image,
    Message,
    Opaque,
    Part,
    Refusal,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from pytest_agentcap.conversation.values import parse

_FREEFORM = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}


def shape_messages(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Shape messages; keys that would hold nothing are left out, `content` never is."""
    return [shape_message(message) for message in messages]


def shape_message(message: Message) -> dict[str, Any]:
    """Shape one message.

    `content` is text, or a list of parts when there are others than text; thinking is `reasoning_content`. Arguments
    of tool calls are objects: templates write them out key by key. Those that are no JSON object stay the text that
    the model wrote, and a tool without a schema takes them under `input`.
    """
    if message.tool_results:
        return _tool_message(message.tool_results[0])
    shaped: dict[str, Any] = {"role": message.role, "content": content_of(message.parts)}
    if message.thinking:
        shaped["reasoning_content"] = message.thinking
    if message.tool_calls:
        shaped["tool_calls"] = [_call(call) for call in message.tool_calls]
    return shaped


def _tool_message(result: ToolResult) -> dict[str, Any]:
    named = {"tool_call_id": result.call_id, "name": result.name}
    told = {key: value for key, value in named.items() if value is not None}
    return {"role": "tool", "content": content_of(result.parts), **told}


def content_of(parts: Iterable[Part]) -> str | list[dict[str, Any]]:
    """Shape what is seen of a message: one text if there is nothing else, else parts in their order."""
    seen = [part for part in parts if isinstance(part, Text | Image | Refusal | Opaque)]
    if all(isinstance(part, Text | Refusal) for part in seen):
        return "\n".join(part.text for part in seen if isinstance(part, Text | Refusal) and part.text)
    return [_content(part) for part in seen]


def _content(part: Text | Image | Refusal | Opaque) -> dict[str, Any]:
    match part:
        case Image():
            return {"type": "image", "url": image_url(part)}
        case Opaque():
            value = parse(part.json)
            return value if isinstance(value, dict) else {"type": part.kind, "value": value}
        case Text() | Refusal():
            return {"type": "text", "text": part.text}


def image_url(image: Image) -> str:
    """Return where an image is, or all of it as a `data:` URL."""
    return image.url or f"data:{image.media_type or 'application/octet-stream'};base64,{image.data or ''}"


def _call(call: ToolCall) -> dict[str, Any]:
    arguments: Any = call.parsed_arguments
    if arguments is None:
        arguments = call.arguments if call.kind == "function" else {"input": call.arguments}
    identity = {} if call.id is None else {"id": call.id}
    return {**identity, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def shape_tools(tools: Iterable[Tool]) -> list[dict[str, Any]]:
    """Shape tool definitions; one without a schema takes free text as `input`."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description or "",
                "parameters": _schema(tool),
            },
        }
        for tool in tools
    ]


def _schema(tool: Tool) -> Any:
    if tool.parameters is not None:
        return dict(tool.parameters)
    return {"type": "object", "properties": {}} if tool.kind == "function" else _FREEFORM
