"""Recorded requests sent to another model."""

from __future__ import annotations

import json

import pytest

from pytest_agentcap.cli import main
from pytest_agentcap.conversation.records import CallRecord
from pytest_agentcap.replay.reissue import UnsendableRequest, sending_of
from pytest_agentcap.runs.layout import RunDirectory, find_runs

PATH = {"path": "/v1/chat/completions", "query": ""}


def record(body, **facts):
    return CallRecord({"request_id": "a" * 32, **facts}, body, None)


@pytest.fixture
def recorded(new_session, tmp_path, monkeypatch):
    """A workspace with one run: two sessions, three calls."""
    monkeypatch.setenv("AGENTCAP_WORKSPACE", str(tmp_path))
    run = RunDirectory(tmp_path / ".agentcap" / "pi-local-20260101-000000")
    sessions = []
    for name, count in (("buy", 2), ("buy-t2", 1)):
        session = new_session(name, trial=1 if name == "buy" else 2, **PATH)
        for number in range(count):
            session.call([session.SYSTEM, session.user(f"ask {number}")], session.says("old"))
        session.save(run)
        sessions.append(session)
    return run, [call for session in sessions for call in session.records]


def reissued(workspace, recorded_run):
    (run,) = [run for run in find_runs(workspace / ".agentcap") if run.id != recorded_run.id]
    pairs = {}
    for path in run.captures.glob("*.request.json"):
        request = json.loads(path.read_bytes())
        response = json.loads((run.captures / path.name.replace("request", "response")).read_bytes())
        pairs[request["reissued_from"]] = (request, response)
    return run, pairs


def test_every_call_of_a_run_is_answered_by_the_other_model_in_a_run_that_reads_like_any(recorded, tmp_path, capsys):
    run, calls = recorded
    assert main(["reissue", run.id, "--upstream", "scripted", "--model", "org/other"]) == 0
    new, pairs = reissued(tmp_path, run)
    assert "3 calls of 2 sessions were sent to org/other" in capsys.readouterr().out
    assert pairs.keys() == {call.rid for call in calls}
    for call in calls:
        request, response = pairs[call.rid]
        assert request["body"] == json.loads(call.request) | {"model": "org/other"}
        assert (request["task_id"], request["trial"]) == ("buy", call.facts["trial"])
        assert response["body"]["model"] == "org/other"
    manifest = json.loads(new.manifest.read_bytes())
    assert (manifest["model"], manifest["agent"], manifest["reissued_from"]) == ("org/other", "pi", run.id)
    assert [task["verdict"] for task in manifest["tasks"]] == ["captured", "captured"]
    assert new.parquet.exists()
    for command in (["ls"], ["show", new.id], ["export", new.id, "--format", "sft", "-o", str(tmp_path / "rows")]):
        assert main(command) == 0
    assert "2/2" in capsys.readouterr().out


def test_one_call_is_reissued_alone(recorded, tmp_path):
    run, calls = recorded
    assert main(["reissue", calls[1].rid, "--upstream", "scripted", "--model", "m"]) == 0
    _, pairs = reissued(tmp_path, run)
    assert list(pairs) == [calls[1].rid]


def test_an_upstream_that_answers_with_errors_makes_sessions_infra(recorded, tmp_path, http_upstream, capsys):
    run, _ = recorded
    with http_upstream(lambda path: (503, b'{"error": "busy"}')) as upstream:
        assert main(["reissue", run.id, "--upstream", upstream.url, "--model", "m", "--api-key", "sk-not-stored"]) == 1
        assert {headers["authorization"] for _, headers in upstream.seen} == {"Bearer sk-not-stored"}
    assert "3 of them failed: status 503" in capsys.readouterr().err
    new, _ = reissued(tmp_path, run)
    results = [json.loads(path.read_bytes()) for path in new.results.glob("*.json")]
    assert {result["verdict"] for result in results} == {"infra"}
    assert not any(b"sk-not-stored" in path.read_bytes() for path in new.path.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["nothing", "--upstream", "scripted", "--model", "m"], "replay:nothing: "),
        (["x", "--upstream", "ftp://h", "--model", "m"], "--upstream ftp://h: give a URL"),
        (["x", "--upstream", "scripted", "--model", "a b"], "--model: 'a b' is not a model id"),
        (["x", "--upstream", "scripted", "--model", "m", "--at-once", "0"], "--at-once: give a number from 1 on"),
    ],
)
def test_what_cannot_begin_is_one_line(tmp_path, monkeypatch, capsys, words, line):
    monkeypatch.setenv("AGENTCAP_WORKSPACE", str(tmp_path))
    assert main(["reissue", *words]) == 2
    assert line in capsys.readouterr().err
    assert not (tmp_path / ".agentcap").exists()


def test_a_request_keeps_all_but_its_model_and_what_belongs_to_its_connection():
    told = [["Host", "h"], ["content-length", "9"], ["x-session-id", "s"], ["Content-Type", "application/json"]]
    body = b'{"z": 1, "model": "a", "b": "\\ud83d"}'
    sent = sending_of(record(body, path="/v1/messages", query="beta=true", request_headers=json.dumps(told)), "m")
    assert (sent.path, sent.query) == ("/v1/messages", "beta=true")
    assert sent.headers == (("x-session-id", "s"), ("Content-Type", "application/json"))
    assert sent.body == b'{"z": 1, "model": "m", "b": "\\ud83d"}'


def test_a_model_that_is_named_in_the_path_is_another_there():
    path = "/v1beta/models/gemini-2.5-pro:streamGenerateContent"
    sent = sending_of(record(b'{"contents": []}', path=path), "org/m")
    assert (sent.path, sent.body) == ("/v1beta/models/org%2Fm:streamGenerateContent", b'{"contents": []}')


def test_a_request_that_was_no_json_is_named():
    with pytest.raises(UnsendableRequest, match="aaaa: the request is no JSON object"):
        sending_of(record(b'{"_unparsed_raw": "x"}'), "m")
