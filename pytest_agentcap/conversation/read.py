"""A recorded call understood: its request, its answer merged from whatever came, its errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from pytest_agentcap.conversation.chat import CHAT
from pytest_agentcap.conversation.completions import COMPLETIONS
from pytest_agentcap.conversation.gemini import GEMINI, merge_chunks
from pytest_agentcap.conversation.messages import MESSAGES
from pytest_agentcap.conversation.model import Answer, Call, CallError, Request
from pytest_agentcap.conversation.records import CallRecord
from pytest_agentcap.conversation.responses import RESPONSES
from pytest_agentcap.conversation.sse import read_events
from pytest_agentcap.conversation.usage import usage_of
from pytest_agentcap.conversation.values import Document, as_object, as_objects, as_text, parse, read_error
from pytest_agentcap.conversation.wire import Api, Merged
from pytest_agentcap.runs.captures import Half

APIS: Mapping[str, Api] = {
    "chat": CHAT,
    "completions": COMPLETIONS,
    "responses": RESPONSES,
    "messages": MESSAGES,
    "gemini": GEMINI,
}


def read_call(record: CallRecord, read_body: Callable[[bytes], Any] = parse) -> Call:
    """Read a call; nothing that a client or server may have sent makes this fail.

    Embeddings, token counts, unknown APIs and bodies that are no JSON object come out `opaque`. `read_body` reads the
    request as `parse` does; that of `RepeatedBodies` spares what calls of a session repeat.
    """
    api = None if _counts_tokens(record) else APIS.get(record.api)
    body = read_body(record.request)
    usage = usage_of(record.api, record.response)
    if api is None or not isinstance(body, dict) or "_unparsed_raw" in body:
        model = as_text(as_object(body).get("model"))
        return Call(record, Request(model, ()), _opaque_answer(record), usage, opaque=True)
    return Call(record, api.read_request(body), _read_answer(api, record), usage)


def merge_stream(api: Api, text: str) -> Merged:
    """Join a stream's text to the body that it stands for."""
    return api.merge(read_events(text))


def _counts_tokens(record: CallRecord) -> bool:
    return (record.text("path") or "").rstrip("/").endswith("/count_tokens")


def _read_answer(api: Api, record: CallRecord) -> Answer | None:
    if record.response is None:
        return _without_response(record)
    merged = _merged(api, record.response)
    status = record.integer("status_code")
    error = _error(record, merged, status)
    answer = api.read_answer(merged.body)
    return replace(answer, error=error or answer.error, ended=answer.ended and merged.ended and not _broke_off(record))


def _merged(api: Api, half: Half) -> Merged:
    content = parse(half.text)
    if half.key == "raw":
        return merge_stream(api, content if isinstance(content, str) else "")
    if isinstance(content, list) and api is GEMINI:
        return merge_chunks(as_objects(content))
    if isinstance(content, dict) and isinstance(content.get("_unparsed_raw"), str):
        return _unparsed(api, content["_unparsed_raw"])
    body: Document = as_object(content)
    has_error = body.get("error") is not None and not (api is RESPONSES and "output" in body)
    return Merged(body, True, body if has_error else None)


def _unparsed(api: Api, text: str) -> Merged:
    """Read a body that is no JSON: maybe a stream whose server forgot its content type, else the text of an error."""
    merged = merge_stream(api, text)
    found = api.read_answer(merged.body)
    return merged if found.message or merged.error else Merged({}, False, {"error": text.strip()})


def _error(record: CallRecord, merged: Merged, status: int | None) -> CallError | None:
    refused = status is not None and status >= 400
    if merged.error is not None:
        streamed = record.response is not None and record.response.key == "raw" and not refused
        return read_error(merged.error, "stream" if streamed else "http")
    if refused:
        return CallError("http", f"status {status}", str(status))
    return _transport_error(record)


def _transport_error(record: CallRecord) -> CallError | None:
    told = record.faulty or record.text("error")
    return CallError("transport", told, told.partition(":")[0]) if told else None


def _broke_off(record: CallRecord) -> bool:
    return record.facts.get("complete") is False


def _without_response(record: CallRecord) -> Answer | None:
    error = _transport_error(record)
    return Answer(None, ended=False, error=error) if error else None


def _opaque_answer(record: CallRecord) -> Answer | None:
    if record.response is None:
        return _without_response(record)
    status = record.integer("status_code")
    body = parse(record.response.text)
    error = read_error(body, "http")
    if error is None and status is not None and status >= 400:
        error = CallError("http", f"status {status}", str(status))
    return Answer(None, error=error or _transport_error(record), ended=not _broke_off(record))


def response_body(call: Call) -> str | None:
    """Return a call's answer as one JSON document of its API, merged if it was a stream; None without a response."""
    half = call.record.response
    if half is None:
        return None
    api = APIS.get(call.api)
    if half.key == "raw" and api is not None:
        return json.dumps(_merged(api, half).body, ensure_ascii=False)
    return half.text.decode("utf-8", "replace")
