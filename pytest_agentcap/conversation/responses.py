"""OpenAI's responses: items in and out, reasoning items, built-in shell tools."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pytest_agentcap.conversation.model import (
    Answer,
    CallError,
    Message,
    Part,
    Refusal,
    Request,
    Role,
    Sampling,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from pytest_agentcap.conversation.sse import Event
from pytest_agentcap.conversation.values import (
    Document,
    argument_text,
    as_integer,
    as_number,
    as_object,
    as_objects,
    as_text,
    encode,
    opaque,
    plain_part,
    plain_parts,
    read_error,
)
from pytest_agentcap.conversation.wire import Api, Merged, append_text, documents

_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_CALLS = frozenset(("function_call", "custom_tool_call", "local_shell_call", "shell_call", "apply_patch_call"))
_LAST = frozenset(("response.completed", "response.incomplete", "response.failed", "response.cancelled"))
# A delta's type: the list in the item that it adds to, the event's key for the place in it, and the part's type.
_PARTS = {
    "response.output_text.delta": ("content", "content_index", "output_text", "text"),
    "response.refusal.delta": ("content", "content_index", "refusal", "refusal"),
    "response.reasoning_text.delta": ("content", "content_index", "reasoning_text", "text"),
    "response.reasoning_summary_text.delta": ("summary", "summary_index", "summary_text", "text"),
}
_ARGUMENTS = {
    "response.function_call_arguments.delta": "arguments",
    "response.custom_tool_call_input.delta": "input",
}


def merge(events: Iterable[Event]) -> Merged:
    """Join the events of a stream to the response they stand for.

    The last event holds it all, unless the stream broke off before, or its server leaves the output out there.
    """
    body: Document = {"object": "response", "output": []}
    items: dict[int, Document] = {}
    ended, error = False, None
    for event in documents(events):
        kind = str(event.get("type"))
        if isinstance(event.get("response"), dict):
            body |= event["response"]
            ended = ended or kind in _LAST
        elif kind == "error" or (event.get("error") is not None and kind == "None"):
            error = event if isinstance(event.get("error"), dict) else {"error": event}
        elif kind in ("response.output_item.added", "response.output_item.done"):
            items[as_integer(event.get("output_index")) or 0] = _copy(as_object(event.get("item")))
        else:
            _add(items.setdefault(as_integer(event.get("output_index")) or 0, {}), kind, event)
    if not as_objects(body.get("output")):
        body["output"] = [items[index] for index in sorted(items) if items[index]]
    return Merged(body, ended and error is None, error)


def _copy(item: Document) -> Document:
    """Copy an item as deep as deltas reach."""
    lists = {key: [dict(part) for part in as_objects(item[key])] for key in ("content", "summary") if item.get(key)}
    return {**item, **lists}


def _add(item: Document, kind: str, event: Document) -> None:
    if kind in _PARTS:
        name, place, part_kind, key = _PARTS[kind]
        append_text(_part(item, name, as_integer(event.get(place)) or 0, part_kind), key, event.get("delta"))
    elif kind in _ARGUMENTS:
        append_text(item, _ARGUMENTS[kind], event.get("delta"))


def _part(item: Document, name: str, index: int, kind: str) -> Document:
    if not isinstance(item.get(name), list):
        item[name] = []
    parts: list[Document] = item[name]
    while len(parts) <= index:
        parts.append({"type": kind})
    return parts[index]


def read_request(body: Document) -> Request:
    """Read the body of a request; what an earlier response holds, if it names one, is not in it."""
    instructions = body.get("instructions")
    messages = [Message("system", plain_parts(instructions))] if isinstance(instructions, str) and instructions else []
    told = body.get("input")
    messages.extend(_messages([{"role": "user", "content": told}] if isinstance(told, str) else as_objects(told)))
    choice = body.get("tool_choice")
    return Request(
        as_text(body.get("model")),
        tuple(messages),
        tuple(map(_tool, as_objects(body.get("tools")))),
        Sampling(
            temperature=as_number(body.get("temperature")),
            top_p=as_number(body.get("top_p")),
            max_tokens=as_integer(body.get("max_output_tokens")),
            reasoning_effort=as_text(as_object(body.get("reasoning")).get("effort")),
            tool_choice=choice if isinstance(choice, str) or choice is None else encode(choice),
        ),
        body.get("stream") is True,
        as_text(body.get("previous_response_id")),
    )


def _messages(items: Iterable[Document]) -> Iterator[Message]:
    """Group items to messages: all that the model said until somebody else speaks is one."""
    said: list[Part] = []
    for item in items:
        kind = str(item.get("type", "message"))
        role = _ROLES.get(str(item.get("role")), "user")
        if (kind == "message" and role != "assistant") or kind.endswith("_output"):
            if said:
                yield Message("assistant", tuple(said))
                said = []
            yield Message("tool", (_result(item),)) if kind != "message" else Message(role, tuple(_content(item)))
        else:
            said.extend(_said(item, kind))
    if said:
        yield Message("assistant", tuple(said))


def _result(item: Document) -> ToolResult:
    return ToolResult(as_text(item.get("call_id")) or as_text(item.get("id")), plain_parts(item.get("output")))


def _said(item: Document, kind: str) -> Iterator[Part]:
    if kind == "message":
        yield from _content(item)
    elif kind == "reasoning":
        pieces = [*as_objects(item.get("content")), *as_objects(item.get("summary"))]
        text = "\n".join(str(piece["text"]) for piece in pieces if piece.get("text"))
        yield Thinking(text, None, as_text(item.get("encrypted_content")))
    elif kind in _CALLS:
        yield _call(item, kind)
    else:
        yield opaque(item)


def _content(item: Document) -> Iterator[Part]:
    content = item.get("content")
    for part in [{"type": "text", "text": content}] if isinstance(content, str) else as_objects(content):
        yield Refusal(str(part.get("refusal", ""))) if part.get("type") == "refusal" else plain_part(part)


def _call(item: Document, kind: str) -> ToolCall:
    identity = as_text(item.get("call_id")) or as_text(item.get("id"))
    name = as_text(item.get("name")) or kind.removesuffix("_call")
    arguments: Any = next((item[key] for key in ("arguments", "input", "action", "operation") if key in item), None)
    return ToolCall(identity, name, argument_text(arguments), {"function_call": "function"}.get(kind, kind[:-5]))


def _tool(offered: Document) -> Tool:
    kind, parameters = str(offered.get("type", "function")), offered.get("parameters")
    return Tool(
        as_text(offered.get("name")) or kind,
        as_text(offered.get("description")),
        parameters if isinstance(parameters, dict) else None,
        kind,
    )


def read_answer(body: Document) -> Answer:
    """Read a response's body."""
    messages = list(_messages(as_objects(body.get("output"))))
    status = as_text(body.get("status"))
    error = read_error(body, "stream")
    return Answer(
        messages[0] if messages else None,
        as_text(as_object(body.get("incomplete_details")).get("reason")) or status,
        status in ("completed", "incomplete"),
        as_text(body.get("model")),
        as_text(body.get("id")),
        error or (CallError("stream", f"the response is {status}") if status in ("failed", "cancelled") else None),
    )


RESPONSES = Api(merge, read_request, read_answer)
