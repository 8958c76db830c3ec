"""Wire shapes of OpenAI's chat completions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pytest_agentcap.upstream.exchange import (
    Answer,
    Message,
    Request,
    Role,
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

_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}


def read(raw: bytes) -> Request:
    """Read a request body.

    Raises BadRequest.
    """
    body = read_object(raw)
    messages = [
        Message(role, read_text(message.get("content")))
        for message in read_objects(body, "messages")
        if (role := _ROLES.get(str(message.get("role"))))
    ]
    tools = [] if body.get("tool_choice") == "none" else [_tool(offered) for offered in read_objects(body, "tools")]
    options = body.get("stream_options")
    include_usage = isinstance(options, dict) and options.get("include_usage") is True
    return make_request(raw, body, messages, [tool for tool in tools if tool], include_usage)


def answer_body(request: Request, answer: Answer) -> dict[str, Any]:
    """Shape an answer that is not streamed."""
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    if isinstance(answer, Text):
        message["content"] = answer.text
    else:
        function = {"name": answer.tool.name, "arguments": answer.arguments_json}
        message["tool_calls"] = [{"id": f"call_{answer.id}", "type": "function", "function": function}]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish_reason(answer)}
    return {**_head(request, "chat.completion"), "choices": [choice], "usage": _usage(request, answer)}


def answer_events(request: Request, answer: Answer) -> Iterator[bytes]:
    """Shape a streamed answer, one server-sent event at a time."""
    for delta in _deltas(answer):
        yield _chunk(request, delta, None)
    yield _chunk(request, {}, _finish_reason(answer))
    if request.include_usage:
        yield sse({**_head(request, "chat.completion.chunk"), "choices": [], "usage": _usage(request, answer)})
    yield b"data: [DONE]\n\n"


def error_body(message: str, kind: str = "invalid_request_error") -> dict[str, Any]:
    """Shape an error."""
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def _tool(offered: Mapping[str, Any]) -> Tool | None:
    function = offered.get("function")
    if offered.get("type", "function") != "function" or not isinstance(function, dict):
        return None
    return Tool(
        name=str(function.get("name", "")),
        description=str(function.get("description") or ""),
        schema=read_schema(function.get("parameters")),
    )


def _deltas(answer: Answer) -> Iterator[dict[str, Any]]:
    if isinstance(answer, Text):
        yield {"role": "assistant", "content": ""}
        yield from ({"content": piece} for piece in fragments(answer.text))
        return
    yield {"role": "assistant", "content": None}
    function = {"name": answer.tool.name, "arguments": ""}
    yield {"tool_calls": [{"index": 0, "id": f"call_{answer.id}", "type": "function", "function": function}]}
    for piece in fragments(answer.arguments_json):
        yield {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}


def _chunk(request: Request, delta: Mapping[str, Any], finish_reason: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    usage = {"usage": None} if request.include_usage else {}
    return sse({**_head(request, "chat.completion.chunk"), "choices": [choice], **usage})


def _head(request: Request, kind: str) -> dict[str, Any]:
    # No clock: the same request gets the same bytes.
    return {"id": f"chatcmpl-{request.digest[:24]}", "object": kind, "created": 0, "model": request.model}


def _finish_reason(answer: Answer) -> str:
    return "stop" if isinstance(answer, Text) else "tool_calls"


def _usage(request: Request, answer: Answer) -> dict[str, Any]:
    completion = completion_tokens(answer)
    return {
        "prompt_tokens": request.prompt_tokens,
        "completion_tokens": completion,
        "total_tokens": request.prompt_tokens + completion,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
