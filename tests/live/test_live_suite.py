"""The live tests themselves, run with the scripted model as the server that they are pointed to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from scripted_server import scripted_server

REPOSITORY = Path(__file__).parents[2]
TASKS = REPOSITORY / "tests" / "live" / "tasks" / "prompts.jsonl"


def run_live(path: Path, **environment: str) -> str:
    """Run the live tests of the built-in agent on this machine and return what pytest prints."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AGENTCAP_", "PYTEST_"))}
    words = ("-k", "loop", "-rs", "-p", "no:cacheprovider", "--basetemp", str(path / "inner"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/live/test_live_agents.py", *words],
        cwd=REPOSITORY,
        env={**kept, "AGENTCAP_TEST_SANDBOX": "host", **environment},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    return done.stdout + done.stderr


def test_they_pass_against_a_server_that_does_all_they_ask_for(tmp_path: Path) -> None:
    log = tmp_path / "tested.jsonl"
    with scripted_server(TASKS) as url:
        output = run_live(tmp_path, AGENTCAP_TEST_LLM_URL=url, AGENTCAP_TESTED_LOG=str(log))
    assert " 6 passed" in output, output
    facts = json.loads(log.read_text())
    assert (facts["agent"], facts["model"], facts["scripted"]) == ("loop", "scripted", True)
    assert (facts["good"], facts["turn_2"], facts["trace"]) == (1, True, True)


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"AGENTCAP_TEST_LLM_URL": "http://127.0.0.1:9"}, "http://127.0.0.1:9: no answer"),
        ({"PATH": "/nonexistent"}, "no model server: set AGENTCAP_TEST_LLM_URL, or put llama-server on PATH"),
    ],
    ids=["no answer", "no server"],
)
def test_without_a_server_they_are_skipped_with_the_reason(
    tmp_path: Path, environment: dict[str, str], reason: str
) -> None:
    output = run_live(tmp_path, **environment)
    assert " 6 skipped" in output, output
    assert reason in output
