from __future__ import annotations

import json
import os
import time

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

    assert list(document) == [*FACTS, "corpora", "fixtures", "sampling", "tasks"]
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
    Manifest(run, FACTS).update()

    assert [task["session"] for task in read_manifest(run)["tasks"]] == ["a", "b", "c"]


def verdicts(run):
    return [task["verdict"] for task in json.loads(run.manifest.read_bytes())["tasks"]]


def test_an_update_follows_results_that_come_and_change(run):
    manifest = Manifest(run, FACTS)
    manifest.update()
    assert verdicts(run) == []
    save_result(run, result("a"))
    manifest.update()
    assert verdicts(run) == [None]
    save_result(run, result("a", verdict="failed"))
    manifest.update()
    assert verdicts(run) == ["failed"]


def test_trees_of_files_and_sampling_are_told_by_what_sessions_had(run):
    first = {"telemetry": {"sampling": {"temperature": [0.2], "seed": [1]}}, "fixtures": {"/testdata": "abc"}}
    save_result(run, result("a", **first))
    save_result(run, result("b", 2, telemetry={"sampling": {"seed": [1, 2]}}, fixtures={"/more": None}))
    save_result(run, result("c", 3, telemetry={"calls": {}}))
    Manifest(run, FACTS).update()

    document = read_manifest(run)
    assert document["fixtures"] == {"c": {"/testdata": "abc", "/more": None}}
    assert document["sampling"] == {"temperature": [0.2, None], "seed": [1, 2]}


def test_a_change_within_one_tick_of_the_clock_is_seen(run):
    manifest = Manifest(run, FACTS)
    save_result(run, result("a", verdict="failed"))
    os.utime(run.result("a"), ns=(1, 1))
    manifest.update()
    save_result(run, result("a", verdict="passed"))
    os.utime(run.result("a"), ns=(1, 1))
    manifest.update()
    assert verdicts(run) == ["passed"]


def test_a_result_that_did_not_change_is_not_read_again(run, monkeypatch):
    save_result(run, result("a", verdict="passed"))
    manifest = Manifest(run, FACTS)
    manifest.update()
    monkeypatch.setattr("pytest_agentcap.runs.manifest.read_result", None)
    manifest.update()
    assert verdicts(run) == ["passed"]


def test_while_tests_run_a_small_share_of_the_time_goes_into_the_file(run, monkeypatch):
    now = iter([100.0, 101.0, 150.9, 151.0, 151.0, 151.5])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    manifest = Manifest(run, FACTS)
    manifest.update()
    save_result(run, result("a"))
    manifest.keep_up()
    assert verdicts(run) == []
    manifest.keep_up()
    assert verdicts(run) == [None]


def test_readers_see_the_results_as_they_are_now_whatever_the_file_has(run):
    for session in ("a", "b"):
        save_result(run, result(session, verdict="passed" if session == "a" else None, ended_at=2.0))
    Manifest(run, FACTS).update()
    save_result(run, result("b", verdict="infra", ended_at=3.0))
    save_result(run, result("c", verdict="failed", ended_at=3.0))
    (run.results / "d.json").write_text("{")
    tasks = read_manifest(run)["tasks"]
    assert [(task["session"], task["verdict"]) for task in tasks] == [("a", "passed"), ("b", "infra"), ("c", "failed")]
    assert verdicts(run) == ["passed", None]


def test_what_is_long_in_results_is_not_kept_in_memory(run):
    long = "x" * 10_000
    turn = TurnResult(1, long, 0, 1.25, False, long)
    save_result(run, result("a", turns=(turn,), telemetry={"t": long}, notes=(long,), verdict="passed"))
    manifest = Manifest(run, FACTS)
    assert len(json.dumps(manifest.outlines())) < 2000
    assert manifest.results()[0]["turns"][0]["reply"] == long


def test_a_run_without_a_manifest_is_empty(run):
    assert read_manifest(run) == {}


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", json.dumps("x").encode()])
def test_a_broken_manifest_is_an_error_that_names_it(run, data):
    run.manifest.write_bytes(data)
    with pytest.raises(ValueError, match=r"run\.json: not a run manifest"):
        read_manifest(run)
