"""Secrets replaced in what is published."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_agentcap.publish.redact import redact_text, redaction
from pytest_agentcap.publish.streams import StreamText
from pytest_agentcap.runs.masking import placeholder_of

SECRET = 'gx_"k2m9\\x4\nq7z1p5w8é'


def chat_stream(pieces, end="\n"):
    events = [json.dumps({"id": "c", "choices": [{"index": 0, "delta": {"content": piece}}]}) for piece in pieces]
    return "".join(f"data: {event}{end}{end}" for event in [*events, "[DONE]"])


def column(raw):
    return b'{"stream":true,"raw":' + json.dumps(raw).encode() + b"}"


def content(data):
    stream = StreamText.of(json.loads(data)["raw"])
    return next(iter(stream.texts()))


@pytest.mark.parametrize("depth", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_secret_is_found_however_often_it_is_escaped(depth, ascii_only):
    text = f"before {SECRET} after"
    for _ in range(depth):
        text = json.dumps(text, ensure_ascii=ascii_only)
    data, found = redact_text(redaction([SECRET]), text.encode())
    assert found == 1
    for _ in range(depth):
        data = json.loads(data).encode()
    assert data.decode() == f"before {placeholder_of(SECRET)} after"


def test_the_longer_of_two_secrets_is_replaced_first():
    data, found = redact_text(redaction(["gx_k2m9x4q7", "gx_k2m9x4q7-z1p5"]), b"a gx_k2m9x4q7-z1p5 b gx_k2m9x4q7 c")
    assert found == 2
    assert data.decode() == f"a {placeholder_of('gx_k2m9x4q7-z1p5')} b {placeholder_of('gx_k2m9x4q7')} c"


def test_a_short_value_is_left_alone():
    assert redact_text(redaction(["admin"]), b"admin administers") == (b"admin administers", 0)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_secret_that_came_letter_by_letter_is_replaced_in_its_stream(end):
    secret = "gx_k2m9x4q7z1p5"
    raw = chat_stream(["the key is ", *secret, " and ", "again ", secret[:5], secret[5:] + "."], end)
    data, found = redact_text(redaction([secret]), column(raw))
    assert found == 2
    assert content(data) == f"the key is {placeholder_of(secret)} and again {placeholder_of(secret)}."
    assert json.loads(data)["raw"].count(end) == raw.count(end)


def test_arguments_that_came_in_pieces_stay_json():
    arguments = json.dumps({"command": f"echo {SECRET}"})
    events = [
        {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": arguments[at : at + 3]}}]}}]}
        for at in range(0, len(arguments), 3)
    ]
    raw = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
    data, found = redact_text(redaction([SECRET]), column(raw))
    assert found == 1
    assert json.loads(content(data)) == {"command": f"echo {placeholder_of(SECRET)}"}


def test_a_stream_without_a_secret_is_not_touched():
    data = column(chat_stream(["hello", " ", "world"]))
    assert redact_text(redaction(["gx_k2m9x4q7z1p5"]), data) == (data, 0)


@given(st.lists(st.sampled_from(["gx_k2m9x4q7", "a", 'b"', "\\", "ü", "\u2028", "\n"]), max_size=12), st.data())
def test_a_stream_says_the_same_but_for_the_secret_wherever_it_is_cut(parts, data):
    whole = "x" + "".join(parts) + "y"
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole)), max_size=8)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    redacted, _ = redact_text(redaction(["gx_k2m9x4q7"]), column(chat_stream([*pieces, "", "end"])))
    assert content(redacted) == whole.replace("gx_k2m9x4q7", placeholder_of("gx_k2m9x4q7")) + "end"
