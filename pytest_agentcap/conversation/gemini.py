"""Gemini's generateContent: contents of parts, thoughts among them, calls and results by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pytest_agentcap.conversation.model import (
    Answer,
    Image,
    Message,
    Opaque,
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
)
from pytest_agentcap.conversation.wire import Api, Merged, documents


def merge(events: Iterable[Event]) -> Merged:
    """Join the chunks of a stream to the response they stand for."""
    return merge_chunks(documents(events))


def merge_chunks(chunks: Iterable[Document]) -> Merged:
    """Join chunks, from server-sent events or from the JSON array that other clients are sent."""
    body: Document = {"candidates": []}
    candidates: dict[int, Document] = {}
    error = None
    for chunk in chunks:
        if chunk.get("error") is not None:
            error = chunk
            continue
        for key, value in chunk.items():
            if key == "usageMetadata":
                body[key] = {**as_object(body.get(key)), **as_object(value)}
            elif key != "candidates":
                body[key] = value
        for piece in as_objects(chunk.get("candidates")):
            _add(candidates.setdefault(as_integer(piece.get("index")) or 0, {}), piece)
    body["candidates"] = [candidates[index] for index in sorted(candidates)]
    finished = bool(candidates) and all(candidate.get("finishReason") for candidate in candidates.values())
    return Merged(body, (finished or "promptFeedback" in body) and error is None, error)


def _add(candidate: Document, piece: Document) -> None:
    candidate |= {key: value for key, value in piece.items() if key != "content"}
    content = as_object(piece.get("content"))
    if not content:
        return
    held = candidate.setdefault("content", {"role": "model", "parts": []})
    held |= {key: value for key, value in content.items() if key != "parts"}
    for part in as_objects(content.get("parts")):
        last = held["parts"][-1] if held["parts"] else {}
        if "text" in part and "text" in last and part.get("thought") == last.get("thought"):
            last |= {**part, "text": f"{last['text']}{part['text']}"}
        else:
            held["parts"].append(dict(part))


def read_request(body: Document) -> Request:
    """Read the body of a request; its model stands in the path."""
    system = as_object(body.get("systemInstruction") or body.get("system_instruction"))
    messages = [Message("system", tuple(_parts(system)))] if system else []
    for content in as_objects(body.get("contents")):
        messages.extend(_messages(content))
    return Request(None, tuple(messages), tuple(_tools(body)), _sampling(body))


def _sampling(body: Document) -> Sampling:
    config = as_object(body.get("generationConfig") or body.get("generation_config"))
    thinking = as_object(config.get("thinkingConfig"))
    effort = thinking.get("thinkingLevel", thinking.get("thinkingBudget"))
    calling = body.get("toolConfig")
    return Sampling(
        temperature=as_number(config.get("temperature")),
        top_p=as_number(config.get("topP")),
        top_k=as_number(config.get("topK")),
        max_tokens=as_integer(config.get("maxOutputTokens")),
        seed=as_integer(config.get("seed")),
        stop=as_texts(config.get("stopSequences")),
        frequency_penalty=as_number(config.get("frequencyPenalty")),
        presence_penalty=as_number(config.get("presencePenalty")),
        choices=as_integer(config.get("candidateCount")),
        reasoning_effort=None if effort is None else str(effort),
        tool_choice=None if calling is None else encode(calling),
    )


def _tools(body: Document) -> Iterator[Tool]:
    for group in as_objects(body.get("tools")):
        declared = group.get("functionDeclarations") or group.get("function_declarations")
        for function in as_objects(declared):
            schema = function.get("parametersJsonSchema") or function.get("parameters")
            parameters = schema if isinstance(schema, dict) else None
            yield Tool(str(function.get("name") or ""), as_text(function.get("description")), parameters)
        for kind in group:
            if kind not in ("functionDeclarations", "function_declarations"):
                yield Tool(kind, kind=kind)


def _messages(content: Document) -> Iterator[Message]:
    """Split a content where its role changes: responses of functions are messages of the role `tool`."""
    parts = tuple(_parts(content))
    said = tuple(part for part in parts if not isinstance(part, ToolResult))
    yield from (Message("tool", (part,)) for part in parts if isinstance(part, ToolResult))
    if said or not parts:
        yield Message("assistant" if content.get("role") == "model" else "user", said)


def _parts(content: Document) -> Iterator[Part]:
    for part in as_objects(content.get("parts")):
        yield _part(part)


def _part(part: Document) -> Part:
    signature = as_text(part.get("thoughtSignature"))
    text = part.get("text")
    if isinstance(text, str):
        return Thinking(text, signature) if part.get("thought") is True else Text(text)
    if isinstance(part.get("functionCall"), dict):
        call = part["functionCall"]
        return ToolCall(as_text(call.get("id")), str(call.get("name") or ""), argument_text(call.get("args")))
    if isinstance(part.get("functionResponse"), dict):
        given = part["functionResponse"]
        told = (Text(_response_text(given.get("response"))), *map(_media, as_objects(given.get("parts"))))
        return ToolResult(as_text(given.get("id")), told, None, as_text(given.get("name")))
    return _media(part)


def _media(part: Document) -> Image | Opaque:
    """Read a part that holds a file or names one, in either of the spellings that the API takes."""
    inline = as_object(part.get("inlineData") or part.get("inline_data"))
    named = as_object(part.get("fileData") or part.get("file_data"))
    kind = as_text(inline.get("mimeType") or inline.get("mime_type") or named.get("mimeType") or named.get("mime_type"))
    data, url = as_text(inline.get("data")), as_text(named.get("fileUri") or named.get("file_uri"))
    if (data is not None or url is not None) and (kind or "").startswith("image/"):
        return Image(kind, data, url)
    return Opaque(next(iter(part), "unknown"), encode(part))


def _response_text(response: Any) -> str:
    """Return what a function gave back; clients wrap a text into an object, under a key of their own."""
    if isinstance(response, dict) and len(response) == 1:
        ((key, value),) = response.items()
        if key in ("output", "result", "content", "error") and isinstance(value, str):
            return value
    return encode(response)


def read_answer(body: Document) -> Answer:
    """Read a response's body; a prompt that was blocked is a refusal."""
    candidates = as_objects(body.get("candidates"))
    messages = [
        Message("assistant", tuple(_parts(as_object(candidate["content"]))))
        for candidate in candidates
        if isinstance(candidate.get("content"), dict)
    ]
    blocked = as_text(as_object(body.get("promptFeedback")).get("blockReason"))
    if blocked and not messages:
        messages = [Message("assistant", (Refusal(blocked),))]
    return Answer(
        messages[0] if messages else None,
        as_text(candidates[0].get("finishReason")) if candidates else blocked,
        bool(candidates or blocked),
        as_text(body.get("modelVersion")),
        as_text(body.get("responseId")),
        alternatives=tuple(messages[1:]),
    )


GEMINI = Api(merge, read_request, read_answer)
