from __future__ import annotations

import json

import pytest

from pytest_agentcap.runs.captures import CaptureError, read_half, read_head
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
