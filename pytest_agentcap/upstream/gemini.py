"""Wire shapes of Google's Gemini API; model and streaming are in a request's path, not in its body."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pytest_agentcap.upstream.exchange import (
    Answer,
    BadRequest,
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

_ERRORS = {"invalid_request_error": (400, "INVALID_ARGUMENT"), "not_found_error": (404, "NOT_FOUND")}


def read(raw: bytes) -> Request:
    """Read a request body; the result's `model` is empty and it is not streamed, for the body says neither.

    Raises BadRequest.
    """
    body = read_object(raw)
    instruction = body.get("systemInstruction")
    messages = [Message("system", read_text(instruction.get("parts") if isinstance(instruction, dict) else None))]
    for content in read_objects(body, "contents"):
        messages.extend(_messages(content))
    tools = [] if _forbids_tools(body) else [_tool(each) for each in _declarations(body)]
    return make_request(raw, body, messages, tools)


def answer_body(request: Request, answer: Answer) -> dict[str, Any]:
    """Shape an answer that is not streamed."""
    return {
        "candidates": [_candidate(_part(answer), "STOP")],
        **_head(request),
        "usageMetadata": _usage(request, completion_tokens(answer)),
    }


def answer_events(request: Request, answer: Answer) -> Iterator[bytes]:
    """Shape a streamed answer, one server-sent event at a time: each is a whole response with a piece of the text."""
    # A function call is never cut: its arguments are an object.
    pieces = [{"text": piece} for piece in fragments(answer.text)] if isinstance(answer, Text) else [_part(answer)]
    for part in pieces:
        yield sse({"candidates": [_candidate(part, None)], **_head(request)})
    usage = _usage(request, completion_tokens(answer))
    yield sse({"candidates": [_candidate({"text": ""}, "STOP")], **_head(request), "usageMetadata": usage})


def error_body(message: str, kind: str = "invalid_request_error") -> dict[str, Any]:
    """Shape an error."""
    code, status = _ERRORS[kind]
    return {"error": {"code": code, "message": message, "status": status}}


def _messages(content: Mapping[str, Any]) -> Iterator[Message]:
    parts = read_objects(content, "parts")
    text = read_text(parts)
    if content.get("role") == "model":
        yield Message("assistant", text)
        return
    # Results and text share one content here; apart, they read as in the other APIs: results first, then text.
    for part in parts:
        result = part.get("functionResponse")
        if isinstance(result, dict):
            response = result.get("response")
            yield Message("tool", read_text(response.get("output")) if isinstance(response, dict) else "")
    if text:
        yield Message("user", text)


def _forbids_tools(body: Mapping[str, Any]) -> bool:
    settings = body.get("toolConfig")
    calling = settings.get("functionCallingConfig") if isinstance(settings, dict) else None
    return isinstance(calling, dict) and calling.get("mode") == "NONE"


def _declarations(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for tool in read_objects(body, "tools"):
        yield from read_objects(tool, "functionDeclarations")


def _tool(declared: Mapping[str, Any]) -> Tool:
    return Tool(
        name=str(declared.get("name", "")),
        description=str(declared.get("description") or ""),
        schema=read_schema(declared.get("parametersJsonSchema")) or _json_schema(declared.get("parameters")),
    )


def _json_schema(schema: object) -> Mapping[str, Any]:
    """Spell the types of Gemini's own schemas, such as `STRING`, as JSON schema does.

    Raises BadRequest when it is nested too deeply.
    """
    try:
        return read_schema(_lower_types(schema))
    except RecursionError as error:
        raise BadRequest("tools: a schema is nested too deeply") from error


def _lower_types(value: object) -> object:
    if isinstance(value, list):
        return [_lower_types(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: item.lower() if key == "type" and isinstance(item, str) else _lower_types(item)
        for key, item in value.items()
    }


def _part(answer: Answer) -> dict[str, Any]:
    if isinstance(answer, Text):
        return {"text": answer.text}
    return {"functionCall": {"id": f"call_{answer.id}", "name": answer.tool.name, "args": answer.arguments}}


def _candidate(part: Mapping[str, Any], finish_reason: str | None) -> dict[str, Any]:
    finished = {"finishReason": finish_reason} if finish_reason else {}
    return {"content": {"parts": [part], "role": "model"}, **finished, "index": 0}


def _head(request: Request) -> dict[str, Any]:
    return {"modelVersion": request.model, "responseId": request.digest[:24]}


def _usage(request: Request, completion: int) -> dict[str, Any]:
    return {
        "promptTokenCount": request.prompt_tokens,
        "candidatesTokenCount": completion,
        "totalTokenCount": request.prompt_tokens + completion,
    }
