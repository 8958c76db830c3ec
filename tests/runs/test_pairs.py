from __future__ import annotations

import base64
import gzip
import json
import re
import signal
import stat
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_agentcap.proxy.journal import Journal
from pytest_agentcap.runs.captures import Capture, find_captures
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.pairs import PairMaker, finish_journals

SESSION = {"task_id": "task-1", "session": "task-1", "corpus": "quickstart", "trial": 1, "lease": "1ea5e" * 5}


def rid(number):
    return f"{number:032x}"


def request_head(number=1, **changes):
    return {
        "request_id": rid(number),
        "turn": 1,
        "call_index": number,
        "api": "chat",
        "method": "POST",
        "path": "/v1/chat/completions",
        "query": "",
        "upstream_url": "http://h/v1",
        "request_headers": [["user-agent", "x"]],
        "started_at_ns": 1_700_000_000_123_456_789,
        "request_bytes": 2,
        **changes,
    }


def response_head(number=1, **changes):
    return {
        "request_id": rid(number),
        "status_code": 200,
        "response_headers": [["content-type", "application/json"]],
        "ended_at_ns": 1_700_000_009_000_000_000,
        "duration_ms": 12.5,
        "complete": True,
        "error": None,
        **changes,
    }


def chunk_head(number=1, **changes):
    return {
        "request_id": rid(number),
        "status_code": 200,
        "response_headers": [["content-type", "application/json"]],
        "first_byte_ms": 1.5,
        **changes,
    }


@pytest.fixture
def path(tmp_path):
    return tmp_path / "task-1.journal"


@pytest.fixture
def journal(path):
    journal = Journal(path, SESSION)
    yield journal
    journal.close()


@pytest.fixture
def maker(path, tmp_path):
    return PairMaker(path, tmp_path)


@pytest.fixture
def capture(tmp_path):
    return lambda number=1: Capture(rid(number), tmp_path)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_pair_has_the_names_that_agentcaps_readers_know(journal, maker, tmp_path):
    journal.request(request_head(), b'{"z": 1, "a": 2}')
    journal.response(response_head(), b'{"model": "served"}')
    maker.advance()
    request = json.loads((tmp_path / f"{rid(1)}.request.json").read_bytes())
    response = json.loads((tmp_path / f"{rid(1)}.response.json").read_bytes())

    assert (
        request.items()
        >= {
            "request_id": rid(1),
            "captured_at": 1_700_000_000,
            "upstream_url": "http://h/v1",
            "task_id": "task-1",
            "turn": 1,
            "corpus": "quickstart",
            "trial": 1,
            "redacted": 0,
            "body": {"z": 1, "a": 2},
        }.items()
    )
    assert (
        response.items()
        >= {
            "request_id": rid(1),
            "captured_at_resp": 1_700_000_009,
            "stream": False,
            "status_code": 200,
            "upstream_fingerprint": {"served_model": "served"},
            "complete": True,
            "body": {"model": "served"},
        }.items()
    )
    assert "lease" not in request
    assert [list(half)[number] for half in (request, response) for number in (0, 1, -1)] == [
        "request_id",
        "body_bytes",
        "body",
    ] * 2


def test_only_their_owner_may_read_captures(journal, maker, tmp_path):
    journal.request(request_head(), b"{}")
    maker.advance()
    assert stat.S_IMODE((tmp_path / f"{rid(1)}.request.json").stat().st_mode) == 0o600


def test_each_half_is_there_as_soon_as_its_frame_is(journal, maker, capture):
    journal.request(request_head(), b"{}")
    maker.advance()
    assert capture().request.text == b"{}"
    assert capture().response is None

    journal.response(response_head(), b"[]")
    maker.advance()
    assert capture().response.text == b"[]"


def test_pieces_of_interleaved_streams_are_put_together(journal, maker, capture):
    stream = {"response_headers": [["Content-Type", "text/event-stream; charset=utf-8"]]}
    for number in (1, 2):
        journal.request(request_head(number), b"{}")
    for piece in (b"a", b"b"):
        for number in (1, 2):
            journal.chunk(chunk_head(number, **stream), piece + b"%d" % number)
            maker.advance()
    for number in (2, 1):
        journal.response(response_head(number, **stream), b".")
    maker.advance()

    assert json.loads(capture(1).response.text) == "a1b1."
    assert json.loads(capture(2).response.text) == "a2b2."


def test_a_session_that_never_rests_does_not_hold_its_reader(journal, maker, tmp_path, monkeypatch):
    def write_and_grow(path, data, *, replace):
        path.write_bytes(data)
        journal.request(request_head(int(path.name[:32], 16) + 1), b"{}")

    monkeypatch.setattr("pytest_agentcap.runs.pairs.write_private", write_and_grow)
    journal.request(request_head(1), b"{}")
    maker.advance()
    assert names(tmp_path) == [f"{rid(1)}.request.json", "task-1.journal"]
    maker.advance()
    assert names(tmp_path) == [f"{rid(1)}.request.json", f"{rid(2)}.request.json", "task-1.journal"]


def test_a_request_without_any_response_has_only_its_own_file(journal, maker, tmp_path):
    journal.request(request_head(), b"{}")
    journal.close()
    maker.finish()
    assert names(tmp_path) == [f"{rid(1)}.request.json"]


def test_what_had_come_of_a_response_without_an_end_is_kept(journal, tmp_path, capture):
    stream = {"response_headers": [["content-type", "text/event-stream"], ["content-encoding", "gzip"]]}
    journal.request(request_head(), b"{}")
    whole = gzip.compress(b"data: 1\n\n" * 100)
    for piece in (whole[:20], whole[20:-12]):
        journal.chunk(chunk_head(**stream), piece)
    journal.close()
    assert finish_journals(tmp_path) == ["task-1"]

    response = capture().response
    assert response.head.items() >= {"status_code": 200, "complete": False, "error": "shutdown", "stream": True}.items()
    assert json.loads(response.text).startswith("data: 1\n\n")


def test_a_frame_is_handled_once(journal, maker, tmp_path):
    journal.request(request_head(), b"{}")
    maker.advance()
    (tmp_path / f"{rid(1)}.request.json").unlink()
    maker.advance()
    maker.finish()
    assert names(tmp_path) == []


def test_a_frame_that_could_not_be_written_is_tried_again(journal, path, tmp_path):
    folder = tmp_path / "later"
    maker = PairMaker(path, folder)
    journal.request(request_head(), b"{}")
    journal.chunk(chunk_head(), b"[1,")
    journal.response(response_head(), b"2]")
    with pytest.raises(OSError):
        maker.advance()
    with pytest.raises(OSError):
        maker.finish()
    assert path.exists()

    folder.mkdir()
    maker.finish()
    assert not path.exists()
    assert Capture(rid(1), folder).request.text == b"{}"
    assert Capture(rid(1), folder).response.text == b"[1,2]"


def test_many_threads_may_advance_at_once(journal, maker, tmp_path):
    for number in range(1, 101):
        journal.request(request_head(number), b"[%d]" % number)
        journal.response(response_head(number), b"[%d]" % number)
    threads = [threading.Thread(target=maker.advance) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names(tmp_path)) == 201


# What a secret looks like must not matter, even if it is one of our own words or a part of a number.
@pytest.mark.parametrize("secret", ["request_id", "started_at_ns", "23456789", "00000000", "messages", "captured"])
def test_a_secret_that_looks_like_our_own_text_harms_no_capture(journal, path, tmp_path, capture, secret):
    journal.request(request_head(api="messages"), json.dumps({"key": secret}).encode())
    journal.response(response_head(error="shutdown"), b"{}")
    PairMaker(path, tmp_path, (secret,)).finish()

    assert capture().request.head["request_id"] == rid(1)
    assert capture().request.head["api"] == "messages"
    assert capture().request.head["started_at_ns"] == 1_700_000_000_123_456_789
    assert secret.encode() not in capture().request.text
    assert capture().response.head["error"] == "shutdown"


def test_a_masked_body_that_is_no_json_any_more_is_kept_as_text(journal, path, tmp_path, capture):
    journal.request(request_head(), b'{"pin": 123456789}')
    PairMaker(path, tmp_path, ("123456789",)).finish()

    text = base64.b64decode(capture().request.head["body_base64"])
    assert re.fullmatch(rb'\{"pin": agentcap-redacted-[0-9a-f]{8}\}', text)
    assert b"123456789" not in capture().request.text


def test_secrets_in_queries_and_headers_are_masked_and_counted(journal, path, tmp_path, capture):
    secret = "sk-0123456789"
    journal.request(request_head(query=f"key={secret}", request_headers=[["x-mine", secret]]), b"{}")
    journal.response(response_head(response_headers=[["location", f"/?{secret}"]]), b"{}")
    PairMaker(path, tmp_path, (secret,)).finish()

    assert secret.encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert (capture().request.head["redacted"], capture().response.head["redacted"]) == (2, 1)


def test_a_fingerprint_tells_who_answered(journal, maker, capture):
    headers = [["server", "up"], ["X-Served-By", "node-1"], ["via", "1.1 x"], ["x-build-info", "b7"], ["other", "1"]]
    journal.request(request_head(), b"{}")
    journal.response(response_head(response_headers=headers), b'{"id":1, "model" : "org/m\\"x"}')
    maker.advance()

    assert capture().response.head["upstream_fingerprint"] == {
        "server": "up",
        "x_served_by": "node-1",
        "via": "1.1 x",
        "build_info": "b7",
        "served_model": 'org/m\\"x',
    }


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.floats(0, 1))
def test_a_journal_cut_at_any_byte_gives_every_whole_call(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("cut")
    path = folder / "task-1.journal"
    journal = Journal(path, SESSION)
    ends, begun = {}, {}
    for number in (1, 2, 3):
        journal.request(request_head(number), b"[%d]" % number)
        ends[f"{rid(number)}.request.json"] = path.stat().st_size
        journal.chunk(chunk_head(number), b"[")
        begun[f"{rid(number)}.response.json"] = path.stat().st_size
        journal.response(response_head(number), b"%d]" % number)
        ends[f"{rid(number)}.response.json"] = path.stat().st_size
    journal.close()
    size = int(cut * path.stat().st_size)
    with path.open("r+b") as file:
        file.truncate(size)

    assert finish_journals(folder) == ["task-1"]
    broken = {name for name, begin in begun.items() if begin <= size < ends[name]}
    assert names(folder) == sorted({name for name, end in ends.items() if end <= size} | broken)
    for name in names(folder):
        document = json.loads((folder / name).read_bytes())
        if name in broken:
            assert (document["complete"], document["error"]) == (False, "shutdown")
            assert base64.b64decode(document["body_base64"]) == b"["
        else:
            assert document["body"] == [int(name[:32], 16)]


def test_a_journal_whose_writer_lives_is_left_to_it(journal, tmp_path, path, capture):
    journal.request(request_head(), b"{}")
    torn = tmp_path / f".{rid(1)}.request.json.1"
    torn.write_bytes(b"{")
    assert finish_journals(tmp_path) == []
    assert names(tmp_path) == [torn.name, path.name]

    journal.close()
    assert finish_journals(tmp_path) == ["task-1"]
    assert names(tmp_path) == [f"{rid(1)}.request.json"]
    assert capture().request.text == b"{}"


def test_a_reader_that_knows_fewer_secrets_makes_only_what_is_missing(journal, path, tmp_path, capture):
    journal.request(request_head(), b'["a-very-secret-key"]')
    PairMaker(path, tmp_path, ("a-very-secret-key",)).advance()
    journal.response(response_head(), b'["a-very-secret-key"]')
    journal.close()
    assert finish_journals(tmp_path, ("another-secret",)) == ["task-1"]

    assert b"a-very-secret-key" not in capture().request.text
    assert capture().response.text == b'["a-very-secret-key"]'


def test_what_a_killed_process_left_of_a_file_is_no_capture_and_goes_with_the_next_finish(tmp_path):
    run = RunDirectory(tmp_path)
    run.captures.mkdir()
    for half in ("request", "response"):
        (run.captures / f".{rid(1)}.{half}.json.4711").write_bytes(b'{"request_id":"')
    assert list(find_captures(run)) == []
    assert finish_journals(run.captures) == []
    assert names(run.captures) == []


def test_a_journal_that_another_reader_finishes_first_is_no_error(journal, tmp_path, path, monkeypatch):
    journal.close()
    advance = PairMaker.advance

    def lose_the_race(self):
        path.unlink()
        advance(self)

    monkeypatch.setattr(PairMaker, "advance", lose_the_race)
    assert finish_journals(tmp_path) == []


def test_captures_that_cannot_be_written_keep_their_journal(journal, tmp_path, path, monkeypatch):
    journal.request(request_head(), b"{}")
    journal.close()

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pytest_agentcap.runs.pairs.write_private", full)
        with pytest.raises(OSError, match="No space"):
            finish_journals(tmp_path)
    assert path.exists()
    assert finish_journals(tmp_path) == ["task-1"]


WRITER = """
import json, signal, sys
from pathlib import Path
from pytest_agentcap.proxy.journal import Journal

session, request, chunk, response = json.loads(sys.argv[2])
journal = Journal(Path(sys.argv[1]), session)
print("ready", flush=True)
for number in range(1, 301):
    rid = f"{number:032x}"
    journal.request({**request, "request_id": rid, "call_index": number}, b"[" + b"1," * 50000 + b"%d]" % number)
    journal.chunk({**chunk, "request_id": rid}, b"[" + b"2," * 50000)
    journal.response({**response, "request_id": rid}, b"%d]" % number)
signal.pause()
"""


def test_after_kill_9_every_file_is_whole_and_only_the_last_call_may_lack_the_end_of_its_response(tmp_path, path):
    heads = json.dumps([SESSION, request_head(), chunk_head(), response_head()])
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path), heads], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    deadline = time.monotonic() + 60
    while path.stat().st_size < 3_000_000 and time.monotonic() < deadline:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()

    assert finish_journals(tmp_path) == ["task-1"]
    requests = sorted(tmp_path.glob("*.request.json"))
    responses = sorted(tmp_path.glob("*.response.json"))
    assert len(requests) > 5
    assert len(requests) - len(responses) in (0, 1)
    assert names(tmp_path) == sorted(path.name for path in requests + responses)
    for number in range(1, len(requests) + 1):
        call = Capture(rid(number), tmp_path)
        assert call.request.text == b"[" + b"1," * 50000 + b"%d]" % number
        if number < len(requests) or (call.response and call.response.head["complete"]):
            assert call.response.text == b"[" + b"2," * 50000 + b"%d]" % number
        elif call.response:
            assert call.response.head["error"] == "shutdown"
            assert base64.b64decode(call.response.head["body_base64"]) == b"[" + b"2," * 50000
