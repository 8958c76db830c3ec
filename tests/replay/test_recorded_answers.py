"""What agents get of a recorded response: its status, its headers, its pieces, its end."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from itertools import pairwise

import pytest

from pytest_agentcap.conversation.records import CallRecord
from pytest_agentcap.proxy.wire import Origin, Outgoing, UpstreamFailure
from pytest_agentcap.replay.answer import answer_of
from pytest_agentcap.replay.session import LIVE
from pytest_agentcap.replay.transport import ReplayTransport
from pytest_agentcap.runs.captures import Half

RID = "a" * 32
STREAM = 'data: {"é": 1}\n\n: ping\r\n\r\ndata: [DONE]\n\n'


def recorded(text=STREAM, *, key="raw", head=None, **facts):
    body = json.dumps(text).encode() if key == "raw" else text
    known = {"request_id": RID, "status_code": 200, "complete": True, "error": None, **facts}
    return CallRecord(known, b"{}", Half(head or {}, key, body))


class Found:
    """A session's replay that has one answer for everything."""

    def __init__(self, answer):
        self._answer = answer

    def answer(self, origin, body):
        return self._answer


def serve(answer, *, api="chat", path="/v1/chat/completions", real_pace=False, live=None, models=("m",)):
    """Return status, headers, pieces with the seconds at which they came, the source, and how it broke off."""

    async def talk():
        transport = ReplayTransport({"lease": Found(answer)}, models, live, real_pace)
        request = Outgoing("POST", b"/x", [], [b"{}"], Origin("lease", 1, api, path, ""))
        reply = await transport.send(request, lambda: None)
        pieces, failure = [], None
        started = time.monotonic()
        while not reply.at_end:
            try:
                piece = await reply.read()
            except UpstreamFailure as error:
                failure = error.kind
                break
            pieces.append((piece, time.monotonic() - started))
        return reply.status, reply.headers, pieces, reply.replayed_from, failure

    return asyncio.run(talk())


def pieces_of(answer):
    return [piece for piece, _ in serve(answer)[2]]


def test_a_stream_comes_in_the_pieces_in_which_it_was_recorded():
    lengths = [3, 0, 20, len(STREAM.encode()) - 23]
    served = serve(
        recorded(chunk_bytes=lengths, response_headers=[["content-type", "text/event-stream"], ["x-a", "1"]])
    )
    status, headers, pieces, source, _ = served
    assert (status, source) == (200, RID)
    assert headers == [(b"content-type", b"text/event-stream"), (b"x-a", b"1")]
    assert b"".join(piece for piece, _ in pieces) == STREAM.encode()
    assert [len(piece) for piece, _ in pieces] == [length for length in lengths if length]


@pytest.mark.parametrize("lengths", [None, [1, 2], "?"])
def test_without_the_lengths_a_stream_is_cut_behind_its_events(lengths):
    assert pieces_of(recorded(chunk_bytes=lengths)) == [
        'data: {"é": 1}\n\n'.encode(),
        b": ping\r\n\r\n",
        b"data: [DONE]\n\n",
    ]


def test_status_and_headers_are_as_they_were_less_what_frames_or_codes_a_body():
    told = [
        ["content-type", "application/json"],
        ["content-length", "99"],
        ["content-encoding", "gzip"],
        ["retry-after", "3"],
    ]
    status, headers, pieces, _, _ = serve(
        recorded(b'{"error": 1}', key="body", status_code=429, response_headers=json.dumps(told))
    )
    assert status == 429
    assert headers == [(b"content-type", b"application/json"), (b"retry-after", b"3"), (b"content-length", b"12")]
    assert [piece for piece, _ in pieces] == [b'{"error": 1}']


def test_bytes_that_are_no_text_are_served_from_where_they_are_kept():
    wire = b"\xff\x00data"
    for key in ("raw", "body"):
        head = {f"{key}_base64": base64.b64encode(wire).decode()}
        text = "�" if key == "raw" else b'{"_unparsed_raw":"?"}'
        assert b"".join(pieces_of(recorded(text, key=key, head=head))) == wire


def test_the_real_pace_keeps_the_recorded_times():
    times = [40.0, 90.0, 160.0]
    _, _, pieces, _, _ = serve(recorded(chunk_ms=times), real_pace=True)
    came = [second for _, second in pieces]
    # A machine may be late, never early.
    assert all(second * 1000 >= told - 5 for second, told in zip(came, times, strict=True))
    assert all(one < other for one, other in pairwise(came))


def test_an_answer_that_broke_off_breaks_off_again():
    _, _, pieces, _, failure = serve(recorded(complete=False, error="upstream_reset"))
    assert (len(pieces), failure) == (3, "upstream_reset")
    assert serve(recorded(complete=False, error="client_gone"))[4] == "upstream_reset"


@pytest.mark.parametrize("kind", ["upstream_refused", "upstream_timeout", "bad_gateway"])
def test_an_upstream_that_failed_fails_again(kind):
    with pytest.raises(UpstreamFailure) as raised:
        serve(recorded(b"{}", key="body", status_code=502, complete=False, error=kind))
    assert raised.value.kind == kind


def test_a_call_without_response_is_a_broken_upstream():
    answer = answer_of(CallRecord({"request_id": RID}, b"{}", None))
    assert (answer.status, answer.failure.kind) == (None, "upstream_reset")


@pytest.mark.parametrize(("api", "where"), [("chat", "error"), ("messages", "error"), ("gemini", "error")])
def test_a_miss_is_an_error_in_the_shape_of_the_api_that_clients_do_not_try_again(api, where):
    status, _, pieces, source, _ = serve("call 1 is not in the recording", api=api)
    assert (status, source) == (400, None)
    assert "call 1 is not in the recording" in json.loads(pieces[0][0])[where]["message"]


def test_what_is_no_call_to_a_model_is_answered_without_a_recording():
    status, _, pieces, _, _ = serve("unused", api=None, path="/v1/models", models=("a/b", "c"))
    assert (status, [model["id"] for model in json.loads(pieces[0][0])["data"]]) == (200, ["a/b", "c"])
    assert serve("unused", api=None, path="/api/hello")[0] == 404


class Live:
    """A transport that answers everything itself."""

    async def send(self, request, on_connected):
        class Reply:
            status, headers, replayed_from, at_end = 201, [], None, True

        return Reply()


@pytest.mark.parametrize(("found", "api"), [(LIVE, "chat"), ("unused", None)])
def test_what_the_model_is_to_answer_goes_to_it(found, api):
    assert serve(found, api=api, live=Live())[0] == 201
