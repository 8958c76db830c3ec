from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_agentcap.conversation.model import Message, Part, Refusal, Text, Thinking, ToolCall
from pytest_agentcap.conversation.read import APIS, merge_stream
from pytest_agentcap.conversation.sse import read_events

# Messages on the wire of each API, whole and cut into the events of a stream.
Cut = Callable[[str], list[str]]
Events = Iterator[dict[str, Any]]


def chat_whole(message: Message) -> dict[str, Any]:
    shaped: dict[str, Any] = {"role": "assistant", "content": None}
    for part in message.parts:
        match part:
            case Thinking():
                shaped["reasoning_content"] = part.text
            case Text():
                shaped["content"] = part.text
            case Refusal():
                shaped["refusal"] = part.text
            case ToolCall():
                function = {"name": part.name, "arguments": part.arguments}
                shaped.setdefault("tool_calls", []).append({"id": part.id, "type": "function", "function": function})
    return {"id": "c1", "model": "m", "choices": [{"index": 0, "message": shaped, "finish_reason": "stop"}]}


def chat_events(message: Message, cut: Cut) -> Events:
    def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        return {"id": "c1", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}

    yield chunk({"role": "assistant", "content": None})
    names = {Thinking: "reasoning_content", Text: "content", Refusal: "refusal"}
    calls = list(message.tool_calls)
    for part in message.parts:
        if not isinstance(part, ToolCall):
            yield from (chunk({names[type(part)]: piece}) for piece in cut(part.text))
    for index, call in enumerate(calls):
        first = {"index": index, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}
        yield chunk({"tool_calls": [first]})
    # Parallel calls may come interleaved: only the index tells them apart.
    queues = [[(index, piece) for piece in cut(call.arguments)] for index, call in enumerate(calls)]
    while any(queues):
        for queue in queues:
            if queue:
                index, piece = queue.pop(0)
                yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield chunk({}, "stop")


def messages_whole(message: Message) -> dict[str, Any]:
    blocks = [_block(part) for part in message.parts]
    return {
        "type": "message",
        "role": "assistant",
        "id": "c1",
        "model": "m",
        "content": blocks,
        "stop_reason": "end_turn",
    }


def _block(part: Any) -> dict[str, Any]:
    match part:
        case Thinking():
            if part.encrypted is not None:
                return {"type": "redacted_thinking", "data": part.encrypted}
            return {"type": "thinking", "thinking": part.text, "signature": part.signature or ""}
        case ToolCall():
            return {"type": "tool_use", "id": part.id, "name": part.name, "input": json.loads(part.arguments)}
    return {"type": "text", "text": part.text}


def messages_events(message: Message, cut: Cut) -> Events:
    whole = messages_whole(message)
    yield {"type": "message_start", "message": {**whole, "content": [], "stop_reason": None}}
    for index, block in enumerate(whole["content"]):
        empty = {"text": "", "thinking": "", "signature": "", "input": {}}
        begun = {**block, **{key: value for key, value in empty.items() if key in block}}
        yield {"type": "content_block_start", "index": index, "content_block": begun}
        yield {"type": "ping"}
        for kind, key in (("text_delta", "text"), ("thinking_delta", "thinking"), ("signature_delta", "signature")):
            for piece in cut(block.get(key) or ""):
                yield {"type": "content_block_delta", "index": index, "delta": {"type": kind, key: piece}}
        if "input" in block:
            for piece in cut(json.dumps(block["input"])):
                delta = {"type": "input_json_delta", "partial_json": piece}
                yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    yield {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}}
    yield {"type": "message_stop"}


def responses_whole(message: Message) -> dict[str, Any]:
    items = [_item(part, n) for n, part in enumerate(message.parts)]
    return {"id": "c1", "model": "m", "status": "completed", "output": items}


def _item(part: Any, n: int) -> dict[str, Any]:
    match part:
        case Thinking():
            summary = [{"type": "summary_text", "text": part.text}]
            return {"id": f"rs_{n}", "type": "reasoning", "summary": summary, "encrypted_content": part.encrypted}
        case ToolCall() if part.kind == "custom_tool":
            return {
                "id": f"i{n}",
                "type": "custom_tool_call",
                "call_id": part.id,
                "name": part.name,
                "input": part.arguments,
            }
        case ToolCall():
            call = {"call_id": part.id, "name": part.name, "arguments": part.arguments}
            return {"id": f"i{n}", "type": "function_call", **call}
        case Refusal():
            content = {"type": "refusal", "refusal": part.text}
        case _:
            content = {"type": "output_text", "text": part.text, "annotations": []}
    return {"id": f"i{n}", "type": "message", "role": "assistant", "content": [content]}


def responses_events(message: Message, cut: Cut, *, last: bool = True) -> Events:
    """Cut a response into events; without the `last` one, which repeats it all, only the deltas tell it."""
    whole = responses_whole(message)
    yield {"type": "response.created", "response": {**whole, "status": "in_progress", "output": []}}
    for index, item in enumerate(whole["output"]):
        empty = {"content": [], "summary": [], "arguments": "", "input": ""}
        begun = {**item, **{key: value for key, value in empty.items() if key in item}}
        yield {"type": "response.output_item.added", "output_index": index, "item": begun}
        place = {"output_index": index, "content_index": 0, "summary_index": 0}
        for kind, text in _deltas(item):
            yield from ({"type": f"response.{kind}.delta", **place, "delta": piece} for piece in cut(text))
        if last:
            yield {"type": "response.output_item.done", "output_index": index, "item": item}
    if last:
        yield {"type": "response.completed", "response": whole}


def _deltas(item: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for part in [*item.get("content", []), *item.get("summary", [])]:
        kinds = {"output_text": "output_text", "refusal": "refusal", "summary_text": "reasoning_summary_text"}
        yield kinds[part["type"]], part.get("text", part.get("refusal"))
    if "arguments" in item:
        yield "function_call_arguments", item["arguments"]
    if "input" in item:
        yield "custom_tool_call_input", item["input"]


def gemini_whole(message: Message) -> dict[str, Any]:
    parts = [_gemini_part(part) for part in message.parts]
    candidate = {"index": 0, "content": {"role": "model", "parts": parts}, "finishReason": "STOP"}
    return {"responseId": "c1", "modelVersion": "m", "candidates": [candidate]}


def _gemini_part(part: Any) -> dict[str, Any]:
    match part:
        case Thinking():
            signature = {"thoughtSignature": part.signature} if part.signature else {}
            return {"text": part.text, "thought": True, **signature}
        case ToolCall():
            return {"functionCall": {"id": part.id, "name": part.name, "args": json.loads(part.arguments)}}
    return {"text": part.text}


def gemini_events(message: Message, cut: Cut) -> Events:
    whole = gemini_whole(message)
    head = {"responseId": "c1", "modelVersion": "m"}
    for part in whole["candidates"][0]["content"]["parts"]:
        for piece in [{**part, "text": text} for text in cut(part["text"])] if "text" in part else [part]:
            yield {**head, "candidates": [{"index": 0, "content": {"role": "model", "parts": [piece]}}]}
    yield {**head, "candidates": [{"index": 0, "finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 3}}


def completions_whole(message: Message) -> dict[str, Any]:
    return {"id": "c1", "model": "m", "choices": [{"index": 0, "text": message.text, "finish_reason": "stop"}]}


def completions_events(message: Message, cut: Cut) -> Events:
    for piece in cut(message.text):
        yield {"id": "c1", "model": "m", "choices": [{"index": 0, "text": piece, "finish_reason": None}]}
    yield {"id": "c1", "model": "m", "choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}


def sse(events: Events, *, done: bool = False, end: str = "\n") -> str:
    """Write events as a stream's text."""
    lines = [f"data: {json.dumps(event)}{end}{end}" for event in events]
    return "".join(lines) + (f"data: [DONE]{end}{end}" if done else "")


few = settings(max_examples=40)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
NAME = st.text("abc_", min_size=1, max_size=8)
VALUES = st.recursive(st.none() | st.booleans() | st.integers() | TEXT, lambda inner: st.lists(inner, max_size=3))
ARGUMENTS = st.dictionaries(NAME, VALUES, max_size=3).map(
    lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":"))
)
APART = st.lists(st.integers(0, 60), max_size=6)


def cuts(where: list[int]) -> Any:
    """Return a function that cuts a text at these places."""

    def cut(text: str) -> list[str]:
        places = sorted({0, len(text), *(place % (len(text) + 1) for place in where)})
        return [text[a:b] for a, b in pairwise(places)]

    return cut


def calls(ids: bool = True, kinds: tuple[str, ...] = ("function",)) -> Any:
    numbered = st.lists(st.tuples(NAME, ARGUMENTS, st.sampled_from(kinds)), max_size=3)
    return numbered.map(
        lambda told: [ToolCall(f"call_{n}", name, args, kind) for n, (name, args, kind) in enumerate(told)]
    )


def once(part: Any) -> Any:
    return st.lists(part, max_size=1)


def message(*lists: Any) -> Any:
    return st.tuples(*lists).map(lambda found: Message("assistant", tuple(part for parts in found for part in parts)))


MESSAGES: dict[str, Any] = {
    "chat": message(
        once(st.builds(Thinking, TEXT)), once(st.builds(Text, TEXT)), once(st.builds(Refusal, TEXT)), calls()
    ),
    "messages": message(
        st.lists(
            st.builds(Thinking, TEXT, st.none() | TEXT) | st.builds(Thinking, st.just(""), st.none(), TEXT), max_size=2
        ),
        st.lists(st.builds(Text, TEXT), max_size=2),
        calls(),
    ),
    "responses": message(
        once(st.builds(Thinking, TEXT, st.none(), st.none() | TEXT)),
        st.lists(st.builds(Text, TEXT) | st.builds(Refusal, TEXT), max_size=2),
        calls(kinds=("function", "custom_tool")),
    ),
    "gemini": message(once(st.builds(Thinking, TEXT, st.none() | TEXT)), once(st.builds(Text, TEXT)), calls()),
    "completions": message(st.builds(Text, TEXT).map(lambda text: [text])),
}
WITH_DONE = {"chat", "completions"}
WHOLE: dict[str, Any] = {
    "chat": chat_whole,
    "messages": messages_whole,
    "responses": responses_whole,
    "gemini": gemini_whole,
    "completions": completions_whole,
}
EVENTS: dict[str, Any] = {
    "chat": chat_events,
    "messages": messages_events,
    "responses": responses_events,
    "gemini": gemini_events,
    "completions": completions_events,
}


def whole(api: str, said: Message) -> dict[str, Any]:
    return WHOLE[api](said)


def stream(api: str, said: Message, where: list[int], end: str = "\n", **how: Any) -> str:
    return sse(EVENTS[api](said, cuts(where), **how), done=api in WITH_DONE, end=end)


def parts_of(said: Message | None) -> tuple[Part, ...]:
    return said.parts if said else ()


@pytest.mark.parametrize("api", MESSAGES)
@few
@given(data=st.data())
def test_a_stream_merges_to_the_message_it_was_cut_from(api, data):
    said = data.draw(MESSAGES[api])
    text = stream(api, said, data.draw(APART), data.draw(st.sampled_from(["\n", "\r\n", "\r"])))
    merged = merge_stream(APIS[api], text)
    answer = APIS[api].read_answer(merged.body)
    assert parts_of(answer.message) == said.parts
    assert parts_of(APIS[api].read_answer(whole(api, said)).message) == said.parts
    assert (merged.ended, merged.error, answer.model, answer.id) == (True, None, "m", "c1")


@few
@given(data=st.data())
def test_a_chat_stream_merges_to_the_very_body_that_is_not_streamed(data):
    said = data.draw(MESSAGES["chat"])
    merged = merge_stream(APIS["chat"], stream("chat", said, data.draw(APART))).body
    (choice,) = merged["choices"]
    told = [{key: call[key] for key in ("id", "type", "function")} for call in choice["message"].pop("tool_calls", [])]
    expected = whole("chat", said)["choices"][0]
    assert told == expected["message"].pop("tool_calls", [])
    assert choice == expected


@few
@given(data=st.data())
def test_a_messages_stream_merges_to_the_very_body_that_is_not_streamed(data):
    said = data.draw(MESSAGES["messages"])
    merged = merge_stream(APIS["messages"], stream("messages", said, data.draw(APART))).body
    assert merged.pop("usage") == {"output_tokens": 5}
    assert merged == whole("messages", said)


@few
@given(data=st.data())
def test_a_responses_stream_without_its_last_events_is_merged_from_its_deltas(data):
    said = data.draw(MESSAGES["responses"])
    merged = merge_stream(APIS["responses"], stream("responses", said, data.draw(APART), last=False))
    assert parts_of(APIS["responses"].read_answer(merged.body).message) == said.parts
    assert not merged.ended


@few
@given(data=st.data())
def test_pieces_of_the_network_do_not_matter(data):
    text = stream("messages", data.draw(MESSAGES["messages"]), data.draw(APART))
    pieces = cuts(data.draw(st.lists(st.integers(0, 5000), max_size=20)))(text)
    assert list(read_events(pieces)) == list(read_events(text))


@pytest.mark.parametrize("api", MESSAGES)
@few
@given(data=st.data())
def test_a_stream_that_is_cut_anywhere_gives_a_beginning_of_what_was_said(api, data):
    said = data.draw(MESSAGES[api])
    text = stream(api, said, data.draw(APART))
    end = data.draw(st.integers(0, len(text)))
    answer = APIS[api].read_answer(merge_stream(APIS[api], text[:end]).body)
    for found, full in zip(parts_of(answer.message), said.parts, strict=False):
        if isinstance(found, Text | Thinking | Refusal):
            assert type(found) is type(full)
            assert full.text.startswith(found.text)
        elif isinstance(found, ToolCall) and api != "messages":
            assert full.arguments.startswith(found.arguments) or found.arguments == "{}"


KEYS = [
    *("choices", "delta", "message", "content", "tool_calls", "function", "arguments", "type", "index", "item", "text"),
    *("output", "response", "part", "content_block", "output_index", "input", "error", "candidates", "parts", "role"),
    *("functionCall", "usage", "content_index", "summary", "messages", "tools", "system", "contents", "prompt"),
    *("instructions", "tool_call_id"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS) | st.just("id"),
            inner | st.sampled_from(["text", "tool_use", "message", "function_call", "content_block_delta", "error"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("api", MESSAGES)
@few
@given(documents=st.lists(JSON, max_size=4))
def test_nothing_that_a_server_or_client_sends_breaks_the_reading(api, documents):
    text = "".join(f"data: {json.dumps(document)}\n\n" for document in documents)
    APIS[api].read_answer(merge_stream(APIS[api], text).body)
    for document in documents:
        if isinstance(document, dict):
            APIS[api].read_answer(document)
            APIS[api].read_request(document)
