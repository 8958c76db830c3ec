"""Wire shapes of OpenAI's responses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

from pytest_agentcap.upstream.exchange import (
    Answer,
    BadRequest,
    Message,
    Request,
    Role,
    Text,
    Tool,
    ToolCall,
    completion_tokens,
    fragments,
    make_request,
    read_object,
    read_objects,
    read_schema,
    read_text,
    sse,
)

_ROLES: Mapping[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_RESULT_TYPES = frozenset(
    ("function_call_output", "custom_tool_call_output", "local_shell_call_output", "shell_call_output")
)
_COMMAND_TIMEOUT_MS = 60_000


def read(raw: bytes) -> Request:
    """Read a request body.

    Raises BadRequest, also for a body that leaves out the conversation and names an earlier response instead.
    """
    body = read_object(raw)
    if body.get("previous_response_id") is not None:
        raise BadRequest("previous_response_id: this server keeps no responses, send the whole conversation as input")
    messages = [Message("system", read_text(body.get("instructions")))]
    if isinstance(body.get("input"), str):
        messages.append(Message("user", body["input"]))
    else:
        messages.extend(filter(None, map(_message, read_objects(body, "input"))))
    tools = [] if body.get("tool_choice") == "none" else [_tool(offered) for offered in read_objects(body, "tools")]
    return make_request(raw, body, messages, [tool for tool in tools if tool])


def answer_body(request: Request, answer: Answer) -> dict[str, Any]:
    """Shape an answer that is not streamed."""
    return _response(request, "completed", [_item(request, answer)], _usage(request, answer))


def answer_events(request: Request, answer: Answer) -> Iterator[bytes]:
    """Shape a streamed answer, one server-sent event at a time."""
    numbers = count()
    for name, fields in _events(request, answer):
        yield sse({"type": name, "sequence_number": next(numbers), **fields}, name)


def error_body(message: str, kind: str = "invalid_request_error") -> dict[str, Any]:
    """Shape an error."""
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def _message(item: Mapping[str, Any]) -> Message | None:
    kind = str(item.get("type", "message"))
    if kind in _RESULT_TYPES:
        return Message("tool", read_text(item.get("output")))
    role = _ROLES.get(str(item.get("role")))
    return Message(role, read_text(item.get("content"))) if kind == "message" and role else None


def _tool(offered: Mapping[str, Any]) -> Tool | None:
    name, description = str(offered.get("name", "")), str(offered.get("description") or "")
    match offered.get("type"):
        case "function":
            return Tool(name, description=description, schema=read_schema(offered.get("parameters")))
        case "custom":
            return Tool(name, "freeform", description)
        case "local_shell":
            return Tool("local_shell", "local_shell")
        case "shell":
            return Tool("shell", "shell")
        case _:
            return None


def _events(request: Request, answer: Answer) -> Iterator[tuple[str, dict[str, Any]]]:
    started = _response(request, "in_progress", [], None)
    yield "response.created", {"response": started}
    yield "response.in_progress", {"response": started}
    item = _item(request, answer)
    yield "response.output_item.added", {"output_index": 0, "item": _begun(item)}
    place = {"item_id": item["id"], "output_index": 0}
    if isinstance(answer, Text):
        yield from _text_events(place, answer.text)
    else:
        yield from _call_events(place, answer)
    yield "response.output_item.done", {"output_index": 0, "item": item}
    yield "response.completed", {"response": answer_body(request, answer)}


def _text_events(place: Mapping[str, Any], text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    place = {**place, "content_index": 0}
    yield "response.content_part.added", {**place, "part": _text_part("")}
    for piece in fragments(text):
        yield "response.output_text.delta", {**place, "delta": piece, "logprobs": []}
    yield "response.output_text.done", {**place, "text": text, "logprobs": []}
    yield "response.content_part.done", {**place, "part": _text_part(text)}


def _call_events(place: Mapping[str, Any], call: ToolCall) -> Iterator[tuple[str, dict[str, Any]]]:
    if call.tool.kind == "function":
        name, text, last = "function_call_arguments", call.arguments_json, "arguments"
    elif call.tool.kind == "freeform":
        name, text, last = "custom_tool_call_input", call.command, "input"
    else:
        # Built-in shell calls have no delta events: the whole item comes with output_item.done.
        return
    for piece in fragments(text):
        yield f"response.{name}.delta", {**place, "delta": piece}
    yield f"response.{name}.done", {**place, last: text}


def _item(request: Request, answer: Answer) -> dict[str, Any]:
    if isinstance(answer, Text):
        return {
            "id": f"msg_{request.digest[:24]}",
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": [_text_part(answer.text)],
        }
    call = {"status": "completed", "call_id": f"call_{answer.id}"}
    match answer.tool.kind:
        case "function":
            call_fields = {"name": answer.tool.name, "arguments": answer.arguments_json}
            return {"id": f"fc_{answer.id}", "type": "function_call", **call, **call_fields}
        case "freeform":
            call_fields = {"name": answer.tool.name, "input": answer.command}
            return {"id": f"ctc_{answer.id}", "type": "custom_tool_call", **call, **call_fields}
        case "local_shell":
            action: dict[str, Any] = {
                "type": "exec",
                "command": ["bash", "-lc", answer.command],
                "env": {},
                "timeout_ms": _COMMAND_TIMEOUT_MS,
                "user": None,
                "working_directory": None,
            }
            return {"id": f"lsh_{answer.id}", "type": "local_shell_call", **call, "action": action}
        case "shell":
            action = {"commands": [answer.command], "timeout_ms": _COMMAND_TIMEOUT_MS, "max_output_length": None}
            return {"id": f"sh_{answer.id}", "type": "shell_call", **call, "action": action}


def _begun(item: Mapping[str, Any]) -> dict[str, Any]:
    empty = {"content": [], "arguments": "", "input": ""}
    return {**item, "status": "in_progress", **{key: value for key, value in empty.items() if key in item}}


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _response(
    request: Request, status: str, output: list[dict[str, Any]], usage: Mapping[str, Any] | None
) -> dict[str, Any]:
    return {
        "id": f"resp_{request.digest[:24]}",
        "object": "response",
        # No clock: the same request gets the same bytes.
        "created_at": 0,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "metadata": {},
        "model": request.model,
        "output": output,
        "parallel_tool_calls": False,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": False,
        "temperature": None,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "truncation": "disabled",
        "usage": usage,
    }


def _usage(request: Request, answer: Answer) -> dict[str, Any]:
    completion = completion_tokens(answer)
    return {
        "input_tokens": request.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": request.prompt_tokens + completion,
    }
