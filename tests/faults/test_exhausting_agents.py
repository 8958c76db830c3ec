"""Agents that use up what their container has: memory, processes, disk."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("real")]

AGENT = "test-exhausting"
EAT = "python3 call hi; exec python3 -c 'x = bytearray(800 << 20)'"
SURVIVE = "python3 call hi; python3 -c 'x = bytearray(800 << 20)'; echo survived"
FORK = "python3 call hi; for i in $(seq 90); do sleep 30 & done"
FILL = "python3 call hi; dd if=/dev/zero of=big bs=1M count=60; sleep 600"


@pytest.fixture
def shell(project, need: Callable[[str], None]) -> Iterator:
    """A project with an agent that runs its prompt as a shell script, in podman."""
    need("podman")
    project.write_shell_agent()
    definition = project.path / "agents" / "shell" / "agent.toml"
    definition.write_text(definition.read_text().replace('name = "shell"', f'name = "{AGENT}"'))
    definition.with_name("Containerfile").write_text("FROM localhost/agentcap-base:latest\nUSER agent\n")
    yield project
    image = f"localhost/agentcap-{AGENT}:latest"
    subprocess.run(["podman", "image", "rm", "--ignore", image], capture_output=True, check=False)


def test_an_agent_that_a_limit_killed_is_told_from_one_that_failed(shell):
    shell.write_jsonl(
        {"id": "eats", "input": EAT},
        {"id": "fails", "input": "python3 call hi; exit 9"},
        {"id": "fills", "input": FILL},
        {"id": "forks", "input": FORK},
        {"id": "survives", "input": SURVIVE},
    )
    done = shell.pytest("--agent", "shell", "--memory", "256m", "--pids", "64", "--disk", "40m", "--cpus", "0.5", "-n2")
    results = {result["session"]: result for result in shell.results()}
    assert {name: result["verdict"] for name, result in results.items()} == {
        "eats": "limit",
        "fails": "agent_error",
        "fills": "limit",
        "forks": "limit",
        "survives": "captured",
    }
    memory = "the memory limit of 256m was reached, and 1 process was killed"
    assert results["eats"]["reason"] == f"turn 1: {memory}"
    assert results["survives"]["turns"][0]["limit"] == memory
    assert results["forks"]["reason"] == "turn 1: the limit of 64 processes was reached"
    assert results["fills"]["reason"].startswith("turn 1: the disk limit of 40m was exceeded: the files have 6")
    [turn] = results["fills"]["turns"]
    assert (turn["returncode"], turn["timed_out"]) == (None, False)
    done.stdout.fnmatch_lines([f"limit: turn 1: {memory}"])
    assert results["fills"]["changed_files"] == 1
    assert all(result["calls"] == 1 for result in results.values())
    ours = ["podman", "ps", "--all", "--quiet", "--filter", f"label=agentcap.agent={AGENT}"]
    assert subprocess.run(ours, capture_output=True, check=True).stdout == b""
