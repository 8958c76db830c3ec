"""Messages in the shape of OpenTelemetry's GenAI attributes, as JSON text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pytest_agentcap.conversation.model import (
    Answer,
    Image,
    Message,
    Opaque,
    Part,
    Refusal,
    Request,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from pytest_agentcap.conversation.values import encode, parse
from pytest_agentcap.formats.chat_shape import content_of

# The finish reasons that the conventions name, by what the APIs call them; others stay as they are.
_REASONS = {
    "stop": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "completed": "stop",
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "tool_calls": "tool_call",
    "function_call": "tool_call",
    "tool_use": "tool_call",
    "content_filter": "content_filter",
    "safety": "content_filter",
    "refusal": "content_filter",
}


def system_instructions(request: Request) -> str | None:
    """Write the system prompt, None without one."""
    system = [part for message in _leading(request.messages) for part in message.parts]
    return encode(_parts(system)) if system else None


def input_messages(request: Request) -> str | None:
    """Write the messages behind the system prompt, None without any."""
    rest = request.messages[len(list(_leading(request.messages))) :]
    return encode([{"role": message.role, "parts": _parts(message.parts)} for message in rest]) if rest else None


def output_messages(answer: Answer | None) -> str | None:
    """Write the answer and its alternatives, None without one."""
    if answer is None or answer.message is None:
        return None
    reason = answer.finish_reason or ("error" if answer.error or not answer.ended else "stop")
    finish = _REASONS.get(reason.lower(), reason)
    said = (answer.message, *answer.alternatives)
    return encode([{"role": m.role, "parts": _parts(m.parts), "finish_reason": finish} for m in said])


def _leading(messages: Iterable[Message]) -> Iterable[Message]:
    for message in messages:
        if message.role != "system":
            return
        yield message


def _parts(parts: Iterable[Part]) -> list[dict[str, Any]]:
    return [_part(part) for part in parts]


def _part(part: Part) -> dict[str, Any]:
    match part:
        case Text() | Refusal():
            return {"type": "text", "content": part.text}
        case Thinking():
            return {"type": "reasoning", "content": part.text}
        case Image():
            told = {"modality": "image", "mime_type": part.media_type}
            if part.url is not None:
                return {"type": "uri", **told, "uri": part.url}
            return {"type": "blob", **told, "content": part.data or ""}
        case ToolCall():
            arguments = part.parsed_arguments
            given = part.arguments if arguments is None else arguments
            return {"type": "tool_call", "id": part.id, "name": part.name, "arguments": given}
        case ToolResult():
            return {"type": "tool_call_response", "id": part.call_id, "response": content_of(part.parts)}
        case Opaque():
            value = parse(part.json)
            return {**value, "type": part.kind} if isinstance(value, dict) else {"type": part.kind, "value": value}
