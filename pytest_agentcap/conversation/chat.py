"""OpenAI's chat completions, and what other servers add to them: reasoning, errors in a stream, calls without index."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pytest_agentcap.conversation.model import (
    Answer,
    Message,
    Part,
    Refusal,
    Request,
    Role,
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
    plain_part,
    plain_parts,
)
from pytest_agentcap.conversation.wire import Api, Merged, append_text, documents

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
# vLLM and OpenRouter write `reasoning`, others what DeepSeek began with.
_REASONING = ("reasoning_content", "reasoning")
_JOINED = ("content", "refusal", *_REASONING)


def merge(events: Iterable[Event]) -> Merged:
    """Join the chunks of a stream to the completion they stand for."""
    body: Document = {"object": "chat.completion", "choices": []}
    choices: dict[int, Document] = {}
    ended, error = False, None
    for event in events:
        if event.data.strip() == "[DONE]":
            ended = True
            continue
        for chunk in documents([event]):
            if "error" in chunk and chunk["error"] is not None:
                error = chunk
                continue
            for key, value in chunk.items():
                if key not in ("choices", "object") and value is not None:
                    body[key] = value
            for piece in as_objects(chunk.get("choices")):
                _add(choices.setdefault(as_integer(piece.get("index")) or 0, {}), piece)
    body["choices"] = [{"index": index, **choices[index]} for index in sorted(choices)]
    finished = bool(choices) and all(choice.get("finish_reason") for choice in choices.values())
    return Merged(body, (ended or finished) and error is None, error)


def _add(choice: Document, piece: Document) -> None:
    message: Document = choice.setdefault("message", {"role": "assistant", "content": None})
    choice["finish_reason"] = piece.get("finish_reason") or choice.get("finish_reason")
    # Some servers end a stream with the whole message.
    delta = as_object(piece.get("delta") or piece.get("message"))
    for key, value in delta.items():
        if key == "tool_calls":
            _add_calls(message, as_objects(value))
        elif key == "function_call":
            _add_call(message.setdefault("function_call", {}), as_object(value))
        elif key in _JOINED and isinstance(value, str):
            append_text(message, key, value)
        elif isinstance(value, list) and value:
            message[key] = [*(message.get(key) or []), *value]
        elif value is not None and key not in _JOINED:
            message[key] = value


def _add_calls(message: Document, pieces: list[Document]) -> None:
    calls: list[Document] = message.setdefault("tool_calls", [])
    for piece in pieces:
        index, identity = as_integer(piece.get("index")), piece.get("id")
        known = next((call for call in reversed(calls) if call["index"] == index), None) if index is not None else None
        if index is None and calls and not identity:
            known = calls[-1]
        if known is None or (identity and known.get("id") and identity != known["id"]):
            # Also where a server gives every call the index 0: its id tells it from the one before.
            known = {"index": len(calls) if index is None else index, "type": "function", "function": {}}
            calls.append(known)
        known.update({key: piece[key] for key in ("id", "type") if piece.get(key)})
        _add_call(known["function"], as_object(piece.get("function")))


def _add_call(function: Document, piece: Document) -> None:
    if piece.get("name"):
        function["name"] = piece["name"]
    arguments = piece.get("arguments")
    if isinstance(arguments, dict):
        arguments = encode(arguments)
    append_text(function, "arguments", arguments)


def read_request(body: Document) -> Request:
    """Read the body of a request."""
    choice = body.get("tool_choice")
    return Request(
        as_text(body.get("model")),
        tuple(read_messages(body.get("messages"))),
        tuple(map(_tool, as_objects(body.get("tools")))) + tuple(map(_function, as_objects(body.get("functions")))),
        read_sampling(body, choice),
        body.get("stream") is True,
    )


def read_sampling(body: Document, tool_choice: Any = None) -> Sampling:
    """Read the sampling parameters that completions of both kinds have."""
    limit = as_integer(body.get("max_completion_tokens"))
    return Sampling(
        temperature=as_number(body.get("temperature")),
        top_p=as_number(body.get("top_p")),
        top_k=as_number(body.get("top_k")),
        max_tokens=as_integer(body.get("max_tokens")) if limit is None else limit,
        seed=as_integer(body.get("seed")),
        stop=as_texts(body.get("stop")),
        frequency_penalty=as_number(body.get("frequency_penalty")),
        presence_penalty=as_number(body.get("presence_penalty")),
        choices=as_integer(body.get("n")),
        reasoning_effort=as_text(body.get("reasoning_effort"))
        or as_text(as_object(body.get("reasoning")).get("effort")),
        tool_choice=tool_choice if isinstance(tool_choice, str) or tool_choice is None else encode(tool_choice),
    )


def read_messages(messages: Any) -> Iterator[Message]:
    """Read messages as they stand in requests and answers."""
    for message in as_objects(messages):
        role = _ROLES.get(str(message.get("role")))
        if role == "tool":
            identity, name = as_text(message.get("tool_call_id")), as_text(message.get("name"))
            yield Message("tool", (ToolResult(identity, plain_parts(message.get("content")), None, name),))
        elif role:
            yield Message(role, tuple(_parts(message)))


def _parts(message: Document) -> Iterator[Part]:
    reasoning = next((message[key] for key in _REASONING if isinstance(message.get(key), str) and message[key]), None)
    if reasoning:
        yield Thinking(reasoning)
    content = message.get("content")
    for part in content if isinstance(content, list) else [content]:
        yield from _content(part)
    if isinstance(message.get("refusal"), str) and message["refusal"]:
        yield Refusal(message["refusal"])
    for call in as_objects(message.get("tool_calls")):
        yield _call(as_text(call.get("id")), call)
    if isinstance(message.get("function_call"), dict):
        yield _call(None, {"function": message["function_call"]})


def _content(part: Any) -> Iterator[Part]:
    if isinstance(part, str):
        yield from [Text(part)] if part else []
    elif isinstance(part, dict):
        kind = part.get("type")
        if kind == "thinking":
            # Mistral: a list of texts, or one.
            yield Thinking(
                "".join(piece.text for piece in plain_parts(part.get("thinking")) if isinstance(piece, Text))
            )
        elif kind == "refusal":
            yield Refusal(str(part.get("refusal", "")))
        else:
            yield plain_part(part)


def _call(identity: str | None, call: Document) -> ToolCall:
    kind = as_text(call.get("type")) or "function"
    function = as_object(call.get(kind)) or as_object(call.get("function"))
    arguments = function.get("input") if "input" in function else function.get("arguments")
    return ToolCall(identity, str(function.get("name") or ""), argument_text(arguments), kind)


def _tool(offered: Document) -> Tool:
    kind = as_text(offered.get("type")) or "function"
    inner = as_object(offered.get(kind)) or offered
    return _function(inner, kind)


def _function(function: Document, kind: str = "function") -> Tool:
    parameters = function.get("parameters")
    return Tool(
        str(function.get("name") or kind),
        as_text(function.get("description")),
        parameters if isinstance(parameters, dict) else None,
        kind,
    )


def read_answer(body: Document) -> Answer:
    """Read a completion's body."""
    choices = as_objects(body.get("choices"))
    messages = [message for choice in choices for message in read_messages([_assistant(choice)])]
    return Answer(
        messages[0] if messages else None,
        as_text(choices[0].get("finish_reason")) if choices else None,
        bool(choices),
        as_text(body.get("model")),
        as_text(body.get("id")),
        alternatives=tuple(messages[1:]),
    )


def _assistant(choice: Document) -> Document:
    return {**as_object(choice.get("message")), "role": "assistant"}


CHAT = Api(merge, read_request, read_answer)
