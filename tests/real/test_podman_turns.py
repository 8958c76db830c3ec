"""Turns in containers: the end of whole process trees, of broken upstreams, and homes that tasks share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("real")]

REPOSITORY = Path(__file__).parents[2]
LOOP = REPOSITORY / "agents" / "loop"
AGENT = """
name = "loop"
version = "1"
api = "chat"
executable = "sh"
[command]
first = ["sh"]
next = ["sh"]
prompt = "stdin"
[session]
id = "chosen"
[trace]
paths = ["{{home}}/log/*"]
"""
CALL = "curl -sS $AGENTCAP_PROXY_URL/chat/completions -H 'content-type: application/json' -d '{}'"
# What is left is told by the next task in the same container: nothing outside of it sees its processes.
LEAVES = """
mkdir -p ~/log; echo begun > ~/log/a.jsonl; CALL > /dev/null; echo working; echo trouble >&2
setsid sh -c 'trap "" TERM; sleep 98761' & nohup sleep 98762 >/dev/null 2>&1 &
(setsid nohup env -i /bin/sleep 98763 >/dev/null 2>&1 &) ; sleep 98764
"""
SHARED = "import pytest\n@pytest.fixture\ndef shared_home():\n    return True\n"


@pytest.fixture
def capture(tmp_path: Path, need: Callable[[str], None]) -> Callable[..., list[dict[str, Any]]]:
    """Run tasks by a shell in the loop agent's image; return the results by the tasks' order."""
    need("podman")
    folder = tmp_path / "agents" / "loop"
    folder.mkdir(parents=True)
    (folder / "agent.toml").write_text(AGENT)
    (folder / "Containerfile").write_bytes((LOOP / "Containerfile").read_bytes())

    def run(*tasks: dict[str, Any], options: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(task) + "\n" for task in tasks))
        words = ("-p", "agentcap", "-p", "no:cacheprovider", "--agent", "loop", "prompts.jsonl", *options)
        environment = {**os.environ, "AGENTCAP_WORKSPACE": str(tmp_path)}
        command = [sys.executable, "-m", "pytest", f"--rootdir={tmp_path}", *words]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=540)
        found = [json.loads(path.read_bytes()) for path in tmp_path.glob(".agentcap/*/results/*.json")]
        assert len(found) == len(tasks), done.stdout + done.stderr
        return sorted(found, key=lambda result: int(result["index"]))

    return run


def test_a_turn_that_times_out_leaves_no_process_and_keeps_output_captures_and_trace(
    capture: Callable[..., list[dict[str, Any]]], tmp_path: Path
) -> None:
    (tmp_path / "conftest.py").write_text(SHARED)
    slow, after = capture(
        {"id": "slow", "input": LEAVES.replace("CALL", CALL), "timeout": 5000},
        {"id": "after", "input": f"{CALL} > /dev/null; ps ax -o args; cat ~/log/a.jsonl; ls -A"},
    )
    assert (slow["verdict"], slow["abort_reason"], slow["calls"]) == ("agent_timeout", "initial-turn-timeout", 1)
    [run] = tmp_path.glob(".agentcap/*/")
    assert (run / "sessions/slow_turn_01.out").read_text() == "working\n"
    assert "trouble\n" in (run / "sessions/slow_turn_01.err").read_text()
    assert (run / "traces/slow/a.jsonl").read_text() == "begun\n"
    assert len(list(run.glob("captures/*.response.json"))) == 2
    assert after["verdict"] == "captured"
    said = after["turns"][0]["reply"]
    assert "sleep" not in said
    assert said.endswith("begun")


def test_an_upstream_that_refuses_ends_the_turn(
    capture: Callable[..., list[dict[str, Any]]], http_upstream: Callable[..., Any]
) -> None:
    prompt = f"while true; do {CALL}; sleep 0.3; done"
    with http_upstream(lambda path: (200 if path.endswith("models") else 403, b"{}")) as upstream:
        [result] = capture({"id": "a", "input": prompt}, options=("--model", "m", "--upstream", upstream.url))
    assert result["verdict"] == "infra"
    assert f"the upstream {upstream.url} answered 403" in result["reason"]
