"""What a model request and its answer are, apart from any wire shape."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]
ToolKind = Literal["function", "freeform", "local_shell", "shell"]


class BadRequest(Exception):
    """Say in one line which part of a request body cannot be read."""


@dataclass(frozen=True, slots=True)
class Message:
    """Hold the text of one message; a tool's result is a message of role `tool`, whatever its API calls it."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Tool:
    """Describe one offered tool; `schema` is the JSON schema of a function's arguments, empty for other kinds."""

    name: str
    kind: ToolKind = "function"
    description: str = ""
    schema: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Request:
    """Hold what the four APIs have in common; `digest` is hex over the body, `prompt_tokens` its bytes / 4."""

    model: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...]
    stream: bool
    include_usage: bool
    digest: str
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Text:
    """Answer with a text that ends the turn."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """Answer with one tool call; `id` is bare hex, `arguments` fit a function's schema, `command` fits other kinds."""

    tool: Tool
    id: str
    command: str
    arguments: Mapping[str, Any]

    @property
    def arguments_json(self) -> str:
        return json.dumps(self.arguments, ensure_ascii=False)


Answer = Text | ToolCall


def read_object(raw: bytes) -> dict[str, Any]:
    """Parse a request body.

    Raises BadRequest when it is no JSON object.
    """
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not valid JSON: {error}") from error
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object")
    return body


def read_objects(body: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    """Return a body's list of objects, empty when it is absent or null.

    Raises BadRequest when it is anything else.
    """
    items = body.get(key)
    if items is None:
        return ()
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise BadRequest(f"{key} must be an array of objects")
    return items


def read_text(content: object) -> str:
    """Flatten message content, a string or a list of parts, to the text in it."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = (part.get("text") for part in content if isinstance(part, dict))
    return "\n".join(text for text in texts if isinstance(text, str))


def read_schema(schema: object) -> Mapping[str, Any]:
    """Return a tool's JSON schema, empty when the tool has none."""
    return schema if isinstance(schema, dict) else {}


def make_request(
    raw: bytes,
    body: Mapping[str, Any],
    messages: Sequence[Message],
    tools: Sequence[Tool],
    include_usage: bool = True,
) -> Request:
    """Build the neutral view of a body whose messages and tools have been read."""
    model = body.get("model")
    return Request(
        model=model if isinstance(model, str) else "",
        messages=tuple(messages),
        tools=tuple(tools),
        stream=body.get("stream") is True,
        include_usage=include_usage,
        digest=hashlib.sha256(raw).hexdigest(),
        prompt_tokens=-(-len(raw) // 4),
    )


def completion_tokens(answer: Answer) -> int:
    """Count a quarter of the answer's bytes, rounded up."""
    if isinstance(answer, Text):
        text = answer.text
    else:
        text = answer.arguments_json if answer.tool.kind == "function" else answer.command
    return -(-len(text.encode("utf-8", "surrogatepass")) // 4)


def fragments(text: str, size: int = 16) -> Iterator[str]:
    """Cut a text into the pieces a stream sends."""
    for start in range(0, len(text), size):
        yield text[start : start + size]


def sse(data: Mapping[str, Any], event: str | None = None) -> bytes:
    """Encode one server-sent event."""
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
