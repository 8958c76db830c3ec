"""Wire shapes of Anthropic's messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pytest_agentcap.upstream.exchange import (
    Answer,
    Message,
    Request,
    Text,
    Tool,
    completion_tokens,
    fragments,
    make_request,
    read_object,
    read_objects,
    read_schema,
    read_text,
    sse,
)

_BUILT_IN_BASH_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"command": {"type": "string"}},
    "required": ["command"],
}


def read(raw: bytes) -> Request:
    """Read a request body.

    Raises BadRequest.
    """
    body = read_object(raw)
    messages = [Message("system", read_text(body.get("system")))]
    for message in read_objects(body, "messages"):
        messages.extend(_messages(message))
    choice = body.get("tool_choice")
    no_tools = isinstance(choice, dict) and choice.get("type") == "none"
    tools = [] if no_tools else [_tool(offered) for offered in read_objects(body, "tools")]
    return make_request(raw, body, messages, tools)


def answer_body(request: Request, answer: Answer) -> dict[str, Any]:
    """Shape an answer that is not streamed."""
    return {
        **_head(request),
        "content": [_block(answer)],
        "stop_reason": _stop_reason(answer),
        "stop_sequence": None,
        "usage": _usage(request, completion_tokens(answer)),
    }


def answer_events(request: Request, answer: Answer) -> Iterator[bytes]:
    """Shape a streamed answer, one server-sent event at a time."""
    message = {**_head(request), "content": [], "stop_reason": None, "stop_sequence": None, "usage": _usage(request, 1)}
    yield _event("message_start", message=message)
    yield _event("content_block_start", index=0, content_block=_empty_block(answer))
    yield _event("ping")
    for delta in _deltas(answer):
        yield _event("content_block_delta", index=0, delta=delta)
    yield _event("content_block_stop", index=0)
    delta = {"stop_reason": _stop_reason(answer), "stop_sequence": None}
    yield _event("message_delta", delta=delta, usage={"output_tokens": completion_tokens(answer)})
    yield _event("message_stop")


def error_body(message: str, kind: str = "invalid_request_error") -> dict[str, Any]:
    """Shape an error."""
    return {"type": "error", "error": {"type": kind, "message": message}}


def _messages(message: Mapping[str, Any]) -> Iterator[Message]:
    content = message.get("content")
    if message.get("role") == "assistant":
        yield Message("assistant", read_text(content))
        return
    # Results and text share one user message here; apart, they read as in the other APIs: results first, then text.
    if isinstance(content, list):
        for block in content:
            if isinstance(block, dict) and block.get("type") == "tool_result":
                yield Message("tool", read_text(block.get("content")))
    text = read_text(content)
    if text:
        yield Message("system" if message.get("role") == "system" else "user", text)


def _tool(offered: Mapping[str, Any]) -> Tool:
    built_in_bash = str(offered.get("type", "")).startswith("bash_")
    return Tool(
        name=str(offered.get("name", "")),
        description=str(offered.get("description") or ""),
        schema=_BUILT_IN_BASH_SCHEMA if built_in_bash else read_schema(offered.get("input_schema")),
    )


def _block(answer: Answer) -> dict[str, Any]:
    if isinstance(answer, Text):
        return {"type": "text", "text": answer.text}
    return {"type": "tool_use", "id": f"toolu_{answer.id}", "name": answer.tool.name, "input": answer.arguments}


def _empty_block(answer: Answer) -> dict[str, Any]:
    return {**_block(answer), **({"text": ""} if isinstance(answer, Text) else {"input": {}})}


def _deltas(answer: Answer) -> Iterator[dict[str, Any]]:
    if isinstance(answer, Text):
        yield from ({"type": "text_delta", "text": piece} for piece in fragments(answer.text))
    else:
        pieces = fragments(answer.arguments_json)
        yield from ({"type": "input_json_delta", "partial_json": piece} for piece in pieces)


def _event(name: str, **fields: Any) -> bytes:
    return sse({"type": name, **fields}, name)


def _head(request: Request) -> dict[str, Any]:
    return {"id": f"msg_{request.digest[:24]}", "type": "message", "role": "assistant", "model": request.model}


def _stop_reason(answer: Answer) -> str:
    return "end_turn" if isinstance(answer, Text) else "tool_use"


def _usage(request: Request, output_tokens: int) -> dict[str, Any]:
    return {
        "input_tokens": request.prompt_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": output_tokens,
    }
