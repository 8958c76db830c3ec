from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_agentcap.runs.captures import CaptureError, find_captures, read_half, read_head
from pytest_agentcap.runs.layout import create_run
from pytest_agentcap.runs.verbatim import embed_body, embed_stream

RID = "0123456789abcdef" * 2


@pytest.fixture
def path(tmp_path):
    return tmp_path / f"{RID}.request.json"


@pytest.mark.parametrize("body", [b' {"b": 1e400, "b": "\\ud800"} ', b"[]", b"null", b'"}"', b"{}"])
def test_a_body_comes_back_byte_for_byte(path, body):
    path.write_bytes(embed_body({"request_id": RID, "turn": 1}, body))
    half = read_half(path)
    assert (half.key, half.text) == ("body", body)
    assert half.head == read_head(path) == {"request_id": RID, "body_bytes": len(body), "turn": 1}


def test_a_head_is_read_whole_however_long_it_is(path):
    head = {"request_id": RID, "request_headers": [["x", "y" * 40_000]]}
    path.write_bytes(embed_stream(head, b"data: x\n\n"))
    assert read_head(path)["request_headers"] == head["request_headers"]
    assert json.loads(read_half(path).text) == "data: x\n\n"


def test_an_indented_file_of_agentcap_is_read(path):
    path.write_text(json.dumps({"request_id": RID, "body": {"model": "m"}}, indent=2))
    assert read_half(path).head == read_head(path) == {"request_id": RID}
    assert json.loads(read_half(path).text) == {"model": "m"}


@pytest.mark.parametrize("read", [read_half, read_head])
@pytest.mark.parametrize("data", [b"", b"5", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"request_id":"x"}'])
def test_a_file_that_is_no_capture_is_an_error_that_names_it(path, read, data):
    path.write_bytes(data)
    with pytest.raises(CaptureError, match=path.name):
        read(path)


@pytest.mark.parametrize("read", [read_half, read_head])
def test_a_file_cut_at_any_byte_is_an_error_that_names_it(path, read):
    whole = embed_body({"request_id": RID, "a": {"b": {}}, "trial": 1}, b'{"x":{"y":{}}}')
    for length in range(len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(CaptureError, match=path.name):
            read(path)


def test_the_calls_of_a_run_are_found_whatever_else_lies_there(tmp_path):
    run = create_run(tmp_path, "loop", "local")
    for name in (f"{RID}.request.json", f"{RID}.response.json", "f" * 32 + ".request.json"):
        (run.captures / name).write_bytes(embed_body({"request_id": name[:32]}, b"[]"))
    for name in ("notes.request.json", ".tmp.request.x", "a.journal", "A" * 32 + ".request.json"):
        (run.captures / name).write_bytes(b"")

    found = sorted(find_captures(run), key=lambda capture: capture.rid)
    assert [capture.rid for capture in found] == [RID, "f" * 32]
    assert found[0].response.text == b"[]"
    assert found[1].response is None


@settings(deadline=None)
@given(st.binary(max_size=100), st.dictionaries(st.text(max_size=8), st.text(max_size=30), max_size=4))
def test_any_body_and_any_head_come_back(tmp_path_factory, body, fields):
    file = tmp_path_factory.mktemp("any") / "x.json"
    head = {"request_id": RID, "fields": fields}
    file.write_bytes(embed_body(head, body))
    half = read_half(file)

    assert half.head["fields"] == read_head(file)["fields"] == fields
    assert half.text == body or base64.b64decode(half.head["body_base64"]) == body
