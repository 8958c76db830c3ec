"""Anthropic's messages: content blocks, thinking with signatures, results of tools inside user messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pytest_agentcap.conversation.model import (
    Answer,
    Message,
    Part,
    Refusal,
    Request,
    Sampling,
    Text,
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
    as_texts,
    encode,
    parse,
    plain_part,
    plain_parts,
)
from pytest_agentcap.conversation.wire import Api, Merged, append_text, documents

# A delta's type: the key it adds to, in the block and in the delta alike.
_DELTAS = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}


def merge(events: Iterable[Event]) -> Merged:
    """Join the events of a stream to the message they stand for.

    A tool's input that was cut off, and is no JSON therefore, stays the text that came.
    """
    body: Document = {"type": "message", "role": "assistant", "content": []}
    blocks: dict[int, Document] = {}
    inputs: dict[int, str] = {}
    ended, error = False, None
    for event in documents(events):
        index = as_integer(event.get("index")) or 0
        match event.get("type"):
            case "message_start":
                body |= as_object(event.get("message"))
            case "content_block_start":
                blocks[index] = dict(as_object(event.get("content_block")))
            case "content_block_delta":
                _add(blocks.setdefault(index, {"type": "text"}), inputs, index, as_object(event.get("delta")))
            case "message_delta":
                told = {key: value for key, value in as_object(event.get("delta")).items() if value is not None}
                body |= {**told, "usage": {**as_object(body.get("usage")), **as_object(event.get("usage"))}}
            case "message_stop":
                ended = True
            case "error":
                error = event
    for index, text in inputs.items():
        value = parse(text)
        blocks[index]["input"] = text if value is None else value
    body["content"] = [*as_objects(body["content"]), *(blocks[index] for index in sorted(blocks))]
    return Merged(body, ended and error is None, error)


def _add(block: Document, inputs: dict[int, str], index: int, delta: Document) -> None:
    kind = delta.get("type")
    if kind == "input_json_delta":
        inputs[index] = inputs.get(index, "") + (as_text(delta.get("partial_json")) or "")
        if not inputs[index]:
            del inputs[index]
    elif kind == "citations_delta":
        block["citations"] = [*(block.get("citations") or []), delta.get("citation")]
    elif kind in _DELTAS:
        append_text(block, _DELTAS[kind], delta.get(_DELTAS[kind]))


def read_request(body: Document) -> Request:
    """Read the body of a request."""
    system = plain_parts(body.get("system"))
    messages = [Message("system", system)] if system else []
    for message in as_objects(body.get("messages")):
        messages.extend(_messages(message))
    return Request(
        as_text(body.get("model")),
        tuple(messages),
        tuple(map(_tool, as_objects(body.get("tools")))),
        _sampling(body),
        body.get("stream") is True,
    )


def _sampling(body: Document) -> Sampling:
    choice, thinking = body.get("tool_choice"), as_object(body.get("thinking"))
    effort = as_text(as_object(body.get("output_config")).get("effort"))
    budget = as_integer(thinking.get("budget_tokens"))
    return Sampling(
        temperature=as_number(body.get("temperature")),
        top_p=as_number(body.get("top_p")),
        top_k=as_number(body.get("top_k")),
        max_tokens=as_integer(body.get("max_tokens")),
        stop=as_texts(body.get("stop_sequences")),
        reasoning_effort=effort or (None if budget is None else str(budget)),
        tool_choice=None if choice is None else encode(choice),
    )


def _messages(message: Document) -> Iterator[Message]:
    """Split a message where its role changes: results of tools are messages of the role `tool`."""
    content = message.get("content")
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else as_objects(content)
    role = message.get("role")
    said: list[Part] = []
    for block in blocks:
        if block.get("type") == "tool_result":
            if said:
                yield Message("user", tuple(said))
                said = []
            yield Message("tool", (_result(block),))
        else:
            said.extend(_parts(block))
    if said or not blocks:
        yield Message("assistant" if role == "assistant" else "system" if role == "system" else "user", tuple(said))


def _result(block: Document) -> ToolResult:
    failed = block.get("is_error")
    return ToolResult(
        as_text(block.get("tool_use_id")),
        plain_parts(block.get("content")),
        failed if isinstance(failed, bool) else None,
    )


def _parts(block: Document) -> Iterator[Part]:
    match block.get("type"):
        case "thinking":
            yield Thinking(str(block.get("thinking") or ""), as_text(block.get("signature")) or None)
        case "redacted_thinking":
            yield Thinking("", encrypted=as_text(block.get("data")))
        case "tool_use":
            yield ToolCall(as_text(block.get("id")), str(block.get("name") or ""), argument_text(block.get("input")))
        case _:
            yield plain_part(block)


def _tool(offered: Document) -> Tool:
    schema, kind = offered.get("input_schema"), as_text(offered.get("type"))
    return Tool(
        str(offered.get("name") or ""),
        as_text(offered.get("description")),
        schema if isinstance(schema, dict) else None,
        # A tool of the server's own is named by its type and has no schema.
        "function" if kind in (None, "custom") or isinstance(schema, dict) else kind,
    )


def read_answer(body: Document) -> Answer:
    """Read a message's body."""
    content: Any = body.get("content")
    parts = tuple(part for block in as_objects(content) for part in _parts(block))
    reason = as_text(body.get("stop_reason"))
    if reason == "refusal" and not any(isinstance(part, Text) and part.text for part in parts):
        parts = (*parts, Refusal(as_text(as_object(body.get("stop_details")).get("explanation")) or reason))
    return Answer(
        Message("assistant", parts) if parts or (isinstance(content, list) and reason) else None,
        reason,
        isinstance(content, list),
        as_text(body.get("model")),
        as_text(body.get("id")),
    )


MESSAGES = Api(merge, read_request, read_answer)
