"""pi and opencode in podman, locked in, driven by tests that a user wrote."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("real")]

RunPytest = Callable[..., subprocess.CompletedProcess[str]]

REACH = """
from pytest_agentcap.corpus.task import Task

PROBE = '''
{ getent hosts example.com || echo no-name; } > reach.txt
for target in 1.1.1.1/53 10.88.0.1/22 169.254.169.254/80; do
  timeout 5 bash -c ": < /dev/tcp/$target" 2>/dev/null && echo reached $target >> reach.txt
done
ls /sys/class/net >> reach.txt; id -u >> reach.txt; grep -E 'CapEff|NoNewPrivs' /proc/self/status >> reach.txt
env > environment.txt
'''


def test_the_sandbox_reaches_the_proxy_only(agent_session):
    task = Task("reach", ("probe the network",), "reach", 1, "here", references=(PROBE.strip(),))
    outcome = agent_session.run(task)
    outcome.check()
    assert outcome.calls
    lines = (outcome.workspace / "reach.txt").read_text().split("\\n")
    assert lines[:3] == ["no-name", "lo", "1000"]
    assert [line.split() for line in lines[3:5]] == [["CapEff:", "0000000000000000"], ["NoNewPrivs:", "1"]]
    assert "not-for-the-sandbox" not in (outcome.workspace / "environment.txt").read_text()


def test_the_second_turn_carries_the_first(agent_session):
    first = agent_session.run("remember the word kingfisher")
    second = agent_session.run("which word?")
    second.check()
    assert [turn.number for turn in second.turns] == [1, 2]
    assert second.calls[-1].turn == 2 and len(second.calls) > len(first.calls)
"""


def containers_of_dead_sessions() -> list[str]:
    """List containers whose owner has ended; those of sessions that run beside this one are not ours to judge."""
    listed = subprocess.run(
        ["podman", "ps", "--all", "--format", '{{.Names}} {{index .Labels "agentcap.owner"}}'],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    owners = (line.split() for line in listed)
    return [pair[0] for pair in owners if len(pair) == 2 and not Path(f"/proc/{pair[1].split('-')[0]}").exists()]


def runs_of(workspace: Path) -> list[Path]:
    return sorted((workspace / ".agentcap").glob("*-scripted-*"))


def test_the_sandbox_reaches_nothing_but_the_proxy_and_leaves_nothing(tmp_path: Path, run_pytest: RunPytest) -> None:
    (tmp_path / "test_reach.py").write_text(REACH)
    done = run_pytest(tmp_path, "test_reach.py", "--agent", "pi", "--agent", "opencode", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert containers_of_dead_sessions() == []
    for run in runs_of(tmp_path):
        second = [json.loads(p.read_bytes()) for p in run.glob("captures/*.request.json")]
        asked = [call["body"] for call in second if "which_word" in call["task_id"] or call["turn"] == 2]
        assert asked
        assert any("kingfisher" in json.dumps(body["messages"][:-1]) for body in asked)
