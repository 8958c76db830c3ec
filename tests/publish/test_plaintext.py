"""What a scanner gets to see of a capture."""

from __future__ import annotations

import base64
import json

import pytest

from pytest_agentcap.publish.plaintext import plain_pieces

SECRET = 'gx_"k2m9\\x4q7"z1p5'


def text(document: object) -> str:
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    return b"\n".join(plain_pieces(data)).decode()


def test_a_string_stands_as_it_is_beside_its_key():
    assert f'"token": "{SECRET}"' in text({"body": {"token": SECRET}})


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_json_inside_of_json_is_opened_however_deep(depth):
    value = json.dumps({"command": f"export KEY={SECRET}"})
    for _ in range(depth):
        value = json.dumps({"arguments": value})
    assert f"export KEY={SECRET}" in text({"body": {"messages": [{"tool_calls": [{"function": value}]}]}})


def test_what_is_stored_as_base64_is_decoded():
    assert SECRET in text({"body_base64": base64.b64encode(f"\xff {SECRET}".encode("latin-1")).decode(), "body": {}})


def test_a_stream_is_put_together():
    events = [{"choices": [{"index": 0, "delta": {"content": letter}}]} for letter in SECRET]
    raw = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    assert SECRET in text({"request_id": "r", "raw": raw})


def test_parallel_tool_calls_of_a_stream_are_kept_apart():
    def delta(index, arguments):
        return {"choices": [{"delta": {"tool_calls": [{"index": index, "function": {"arguments": arguments}}]}}]}

    events = [delta(0, '{"a": "gx_k2'), delta(1, '{"b": "'), delta(0, 'm9x4"}'), delta(1, 'other"}')]
    shown = text({"raw": "".join(f"data: {json.dumps(event)}\n\n" for event in events)})
    assert '"a": "gx_k2m9x4"' in shown
    assert '"b": "other"' in shown


def test_a_name_that_comes_twice_hides_nothing():
    shown = text(b'{"body": {"key": "gx_first", "key": "gx_second"}}')
    assert "gx_first" in shown
    assert "gx_second" in shown


def test_each_message_is_a_piece_so_that_histories_are_scanned_once():
    first = {"body": {"messages": [{"content": "one"}]}}
    second = {"body": {"messages": [{"content": "one"}, {"content": "two"}]}}
    before = set(plain_pieces(json.dumps(first).encode()))
    new = [piece for piece in plain_pieces(json.dumps(second).encode()) if piece not in before]
    assert new == [b'"messages": {"content": "two"}']


@pytest.mark.parametrize(
    "data", [b"plain gx_k2m9", b'{"cut": "gx_k2m9', b"\xff\xfe gx_k2m9", b"[" * 100_000 + b"gx_k2m9"]
)
def test_what_is_no_json_is_seen_whole(data):
    assert list(plain_pieces(data)) == [data]


def test_lines_of_json_are_opened_and_others_are_kept():
    shown = text(b'{"a": "x\\"y"}\nnot json\n{"b": "{\\"c\\": \\"z\\\\\\"w\\"}"}\n')
    assert 'x"y' in shown
    assert "not json" in shown
    assert 'z"w' in shown
