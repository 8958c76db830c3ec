"""A recorded response as it is served again: status, headers, and the pieces in which it came."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, get_args

from pytest_agentcap.conversation.records import CallRecord
from pytest_agentcap.proxy.headers import Headers
from pytest_agentcap.proxy.wire import FailureKind, UpstreamFailure
from pytest_agentcap.runs.captures import Half, wire_bytes

_EVENT = re.compile(rb".*?(?:\r\n\r\n|\n\n|\r\r)|.+\Z", re.DOTALL)
_KINDS: frozenset[str] = frozenset(get_args(FailureKind))


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """Hold a response; `at_ms` has for each piece when it arrived, in ms since the request, and `failure` its end.

    `status` is None when the upstream failed before it answered. `at_ms` is empty when nobody knows.
    """

    rid: str
    status: int | None
    headers: Headers
    pieces: tuple[bytes, ...]
    at_ms: tuple[float, ...]
    failure: UpstreamFailure | None


def answer_of(record: CallRecord) -> RecordedAnswer:
    """Return what a recorded call was answered with, as near to the wire as the recording holds it.

    Where it does not hold the lengths of the pieces, a stream is cut behind each of its events.
    """
    failure = _failure(record)
    if record.response is None or (failure and failure.kind != "upstream_reset"):
        # What stands in for an answer that never came was written by the proxy, which will do so again.
        failure = failure or UpstreamFailure("upstream_reset", "the recording holds no response")
        return RecordedAnswer(record.rid, None, [], (), (), failure)
    body = _body(record.response)
    pieces = _pieces(record, body)
    arrived = record.numbers("chunk_ms")
    at_ms = arrived if len(arrived) == len(pieces) else ()
    status = record.integer("status_code") or 200
    return RecordedAnswer(record.rid, status, _headers(record, body), pieces, at_ms, failure)


def _failure(record: CallRecord) -> UpstreamFailure | None:
    told = record.faulty or record.text("error")
    for kind in _KINDS:
        if told == kind:
            return UpstreamFailure(kind, "as it was recorded")  # type: ignore[arg-type]
    if told or record.facts.get("complete") is False:
        return UpstreamFailure("upstream_reset", f"the recorded answer is not whole: {told or 'it broke off'}")
    return None


def _body(half: Half) -> bytes:
    if f"{half.key}_base64" not in half.head and half.text.startswith(b'{"_unparsed_raw":'):
        return str(json.loads(half.text)["_unparsed_raw"]).encode("utf-8", "surrogatepass")
    return wire_bytes(half)


def _pieces(record: CallRecord, body: bytes) -> tuple[bytes, ...]:
    lengths = _lengths(record.facts.get("chunk_bytes"))
    if lengths and sum(lengths) == len(body):
        return tuple(body[start:end] for start, end in pairwise([0, *accumulate(lengths)]))
    if record.response is not None and record.response.key == "raw":
        return tuple(_EVENT.findall(body))
    return (body,) if body else ()


def _lengths(told: Any) -> Sequence[int]:
    return told if isinstance(told, list) and all(isinstance(length, int) for length in told) else ()


def _headers(record: CallRecord, body: bytes) -> Headers:
    told = record.facts.get("response_headers")
    if isinstance(told, str):
        told = json.loads(told)
    if not told:
        streamed = record.response is not None and record.response.key == "raw"
        return [(b"content-type", b"text/event-stream" if streamed else b"application/json")]
    undecoded = record.response is not None and "undecoded" in record.response.head
    # What is stored has no encoding any more, and so another length.
    dropped = {b"content-length"} if undecoded else {b"content-length", b"content-encoding"}
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in told]
    kept = [header for header in headers if header[0].lower() not in dropped]
    framed = any(name.lower() == b"content-length" for name, _ in headers)
    return [*kept, (b"content-length", str(len(body)).encode())] if framed else kept
