from __future__ import annotations

import json
from dataclasses import replace

import pytest

from pytest_agentcap.runs.layout import create_run
from pytest_agentcap.runs.manifest import Manifest
from pytest_agentcap.runs.results import (
    SessionResult,
    TurnResult,
    create_result,
    read_result,
    save_result,
    update_result,
)

RESULT = SessionResult(
    session="a",
    task_id="a",
    index=1,
    corpus="quickstart",
    source="tasks.txt:1",
    trial=1,
    attempt=1,
    agent="loop",
    agent_version="1",
    model="m",
    sandbox="host",
    nodeid="tasks.txt::test_task[loop-m-a]",
    prompt="do it 漢 \ud800",
    started_at=1.5,
)


@pytest.fixture
def run(tmp_path):
    return create_run(tmp_path, "loop", "local")


def test_a_result_is_read_back_as_it_was_saved(run):
    turns = (TurnResult(1, "do it", 0, 1.25, False, "done"), TurnResult(2, "more", None, 9.5, True, ""))
    save_result(run, replace(RESULT, turns=turns, request_ids=("r1", "r2"), prompt_tokens=None))
    result = read_result(run.result("a"))

    assert result["format"] == "agentcap-result-1"
    assert result["prompt"] == RESULT.prompt
    assert result["completed_turns"] == 1
    assert result["turns"][1] == {
        "turn": 2,
        "prompt": "more",
        "returncode": None,
        "duration_s": 9.5,
        "timed_out": True,
        "reply": "",
        "limit": None,
        "waited_s": 0.0,
    }
    assert result["request_ids"] == ["r1", "r2"]
    assert result["prompt_tokens"] is None


def test_a_session_is_created_once_and_saved_as_often_as_one_likes(run):
    assert create_result(run, RESULT)
    assert not create_result(run, replace(RESULT, nodeid="other"))
    save_result(run, replace(RESULT, verdict="passed"))

    assert read_result(run.result("a"))["nodeid"] == RESULT.nodeid
    assert read_result(run.result("a"))["verdict"] == "passed"


def test_one_field_is_changed_and_unknown_ones_stay(run):
    save_result(run, RESULT)
    path = run.result("a")
    path.write_text(json.dumps({**read_result(path), "of_a_newer_version": [1]}))
    update_result(path, verdict="infra", reason="gone")

    result = read_result(path)
    assert (result["verdict"], result["reason"], result["of_a_newer_version"]) == ("infra", "gone", [1])
    assert result["prompt"] == RESULT.prompt


def test_results_come_in_the_order_of_corpus_task_trial_and_attempt(run):
    order = [("a", 1, 1, 1), ("a", 1, 1, 2), ("a", 1, 2, 1), ("a", 10, 1, 1), ("b", 2, 1, 1)]
    for number, (corpus, index, trial, attempt) in enumerate(reversed(order)):
        save_result(
            run,
            replace(RESULT, session=f"s{number}", corpus=corpus, index=index, trial=trial, attempt=attempt),
        )

    found = [(r["corpus"], r["index"], r["trial"], r["attempt"]) for r in Manifest(run, {}).results()]
    assert found == order


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"format":"other"}', b'{"format":1}', b"\xff"])
def test_a_file_that_is_no_result_is_an_error_that_names_it(run, data):
    path = run.result("broken")
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"broken\.json: not a result file"):
        read_result(path)


def test_a_result_of_a_newer_version_is_read(run):
    run.result("new").write_text('{"format":"agentcap-result-2","x":1}')
    assert read_result(run.result("new"))["x"] == 1
