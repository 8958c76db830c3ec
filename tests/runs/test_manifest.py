from __future__ import annotations

import json
import os

import pytest

from pytest_agentcap.runs.layout import create_run
from pytest_agentcap.runs.manifest import Manifest, read_manifest
from pytest_agentcap.runs.results import SessionResult, TurnResult, save_result

FACTS = {"agent": "loop", "model": "m", "provider": "local", "upstream": "http://h", "turns_per_task": 2}


@pytest.fixture
def run(tmp_path):
    return create_run(tmp_path, "loop", "local")


def result(session, index=1, **changes):
    return SessionResult(
        **{
            **{"session": session, "task_id": session, "index": index, "corpus": "c", "source": "s", "trial": 1},
            **{"attempt": 1, "agent": "loop", "agent_version": "1", "model": "m", "sandbox": "host"},
            **{"nodeid": f"n[{session}]", "prompt": "do it", "started_at": 1.0},
            **changes,
        }
    )


def test_a_manifest_has_the_names_that_agentcaps_readers_know(run):
    turn = TurnResult(1, "do it", 0, 1.25, False, "done")
    save_result(run, result("a", turns=(turn,), session_id="s-1", verdict="passed", calls=3))
    Manifest(run, FACTS).update()
    document = read_manifest(run)

    assert list(document) == [*FACTS, "corpora", "tasks"]
    [task] = document["tasks"]
    assert task == {
        "task_id": "a",
        "prompt": "do it",
        "session_id": "s-1",
        "completed_turns": 1,
        "turns": [{"turn": 1, "returncode": 0, "duration_s": 1.25}],
        **{"nodeid": "n[a]", "ended_at": None},
        "session": "a",
        "corpus": "c",
        "trial": 1,
        "attempt": 1,
        "verdict": "passed",
        "reason": None,
        "calls": 3,
        "run_limit": False,
    }


def test_tasks_come_in_the_order_of_the_corpus(run):
    for session, index in (("b", 2), ("c", 10), ("a", 1)):
        save_result(run, result(session, index))
    results = Manifest(run, FACTS).update()

    assert [r["session"] for r in results] == ["a", "b", "c"]
    assert [task["session"] for task in read_manifest(run)["tasks"]] == ["a", "b", "c"]


def test_an_update_follows_results_that_come_and_change(run):
    manifest = Manifest(run, FACTS)
    assert manifest.update() == []
    assert read_manifest(run)["tasks"] == []

    save_result(run, result("a"))
    assert manifest.update()[0]["verdict"] is None
    save_result(run, result("a", verdict="failed"))
    assert manifest.update()[0]["verdict"] == "failed"


def test_a_change_within_one_tick_of_the_clock_is_seen(run):
    manifest = Manifest(run, FACTS)
    save_result(run, result("a", verdict="failed"))
    os.utime(run.result("a"), ns=(1, 1))
    manifest.update()
    save_result(run, result("a", verdict="passed"))
    os.utime(run.result("a"), ns=(1, 1))

    assert manifest.update()[0]["verdict"] == "passed"


def test_a_result_that_did_not_change_is_not_read_again(run, monkeypatch):
    save_result(run, result("a"))
    manifest = Manifest(run, FACTS)
    manifest.update()
    monkeypatch.setattr("pytest_agentcap.runs.manifest.read_result", None)

    assert manifest.update()[0]["session"] == "a"


def test_a_run_without_a_manifest_is_empty(run):
    assert read_manifest(run) == {}


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", json.dumps("x").encode()])
def test_a_broken_manifest_is_an_error_that_names_it(run, data):
    run.manifest.write_bytes(data)
    with pytest.raises(ValueError, match=r"run\.json: not a run manifest"):
        read_manifest(run)
