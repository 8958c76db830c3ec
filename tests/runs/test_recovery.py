from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_agentcap.proxy.journal import Journal
from pytest_agentcap.runs.layout import RunDirectory, create_run
from pytest_agentcap.runs.manifest import Manifest, read_manifest
from pytest_agentcap.runs.recovery import Hold, is_held, recover
from pytest_agentcap.runs.results import SessionResult, create_result


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = create_run(tmp_path, "loop", "scripted")
    Manifest(run, {"agent": "loop", "turns_per_task": 1}).update()
    result = SessionResult(
        session="one",
        task_id="one",
        index=1,
        corpus="c",
        source="c:1",
        trial=1,
        attempt=1,
        agent="loop",
        agent_version="1",
        model="m",
        sandbox="host",
        nodeid="c::one",
        prompt="p",
        started_at=1.0,
    )
    assert create_result(run, result)
    return run


def verdict(run: RunDirectory) -> str | None:
    return json.loads(run.result("one").read_bytes())["verdict"]


def test_a_run_whose_controller_is_gone_gets_verdicts_and_its_manifest(run: RunDirectory) -> None:
    recover(run)
    assert verdict(run) == "infra"
    manifest = read_manifest(run)
    assert manifest["agent"] == "loop"
    assert [(task["task_id"], task["verdict"]) for task in manifest["tasks"]] == [("one", "infra")]


def test_a_run_whose_controller_lives_is_left_as_it_is(run: RunDirectory) -> None:
    hold = Hold.on(run)
    try:
        assert is_held(run)
        recover(run)
    finally:
        hold.release()
    assert verdict(run) is None
    assert not is_held(run)


def test_a_session_that_outlives_its_controller_keeps_its_result_open(run: RunDirectory) -> None:
    journal = Journal(run.journal("one"), {"task_id": "one", "session": "one"})
    recover(run)
    assert verdict(run) is None
    journal.close()
    recover(run)
    assert verdict(run) == "infra"
    assert not run.journal("one").exists()


def test_the_hold_of_a_killed_process_is_gone(run: RunDirectory) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from pytest_agentcap.runs.layout import RunDirectory\n"
        "from pytest_agentcap.runs.recovery import Hold, is_held\n"
        "run = RunDirectory(Path(sys.argv[1])); Hold.on(run); assert is_held(run)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(run.path)]).returncode == -9
    assert not is_held(run)
