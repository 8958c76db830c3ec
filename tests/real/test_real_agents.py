"""pi and opencode in podman, locked in, over shipped and user-written corpora."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pyarrow.parquet as pq
import pytest

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("real")]

REPOSITORY = Path(__file__).parents[2]
AGENTS = ("pi", "opencode")
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


def run_pytest(workspace: Path, *arguments: str, cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "agentcap", "-n", "2", *arguments],
        cwd=cwd,
        env={**os.environ, "AGENTCAP_WORKSPACE": str(workspace), "HF_TOKEN": "hf_not-for-the-sandbox"},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


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


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory, need: Callable[[str], None]) -> tuple[Path, str]:
    need("podman")
    workspace = tmp_path_factory.mktemp("quickstart")
    agents = [word for agent in AGENTS for word in ("--agent", agent)]
    done = run_pytest(workspace, "corpora/quickstart", *agents, f"--junitxml={workspace}/report.xml")
    assert done.returncode == 0, done.stdout + done.stderr
    return workspace, done.stdout


def runs_of(workspace: Path) -> list[Path]:
    return sorted((workspace / ".agentcap").glob("*-scripted-*"))


def test_every_task_of_the_quickstart_corpus_passes(quickstart: tuple[Path, str]) -> None:
    workspace, _ = quickstart
    verdicts = [
        json.loads(path.read_bytes())["verdict"] for run in runs_of(workspace) for path in run.glob("results/*")
    ]
    assert verdicts == ["passed"] * 16
    cases = ElementTree.parse(workspace / "report.xml").iter("testcase")
    assert {p.get("value") for case in cases for p in case.iter("property") if p.get("name") == "agent"} == set(AGENTS)


@pytest.mark.parametrize("agent", AGENTS)
def test_every_call_of_a_session_is_captured(quickstart: tuple[Path, str], agent: str) -> None:
    (run,) = [run for run in runs_of(quickstart[0]) if run.name.startswith(agent)]
    rows = pq.read_table(run / "captures.parquet").to_pylist()
    assert {row["status_code"] for row in rows} == {200}
    assert all(row["complete"] for row in rows)
    for task in {row["task_id"] for row in rows}:
        bodies = [json.loads(row["request"]) for row in rows if row["task_id"] == task]
        main = [body for body in bodies if body.get("tools")]
        # What the agent was told in each answer stands in its last request: no call went past the proxy.
        told = [message for message in main[-1]["messages"] if message["role"] == "assistant"]
        assert len(told) == len(main) - 1
        assert len(list((run / "captures").glob("*.journal"))) == 0


def test_the_sandbox_reaches_nothing_but_the_proxy_and_leaves_nothing(
    tmp_path: Path, need: Callable[[str], None]
) -> None:
    need("podman")
    (tmp_path / "test_reach.py").write_text(REACH)
    done = run_pytest(tmp_path, "test_reach.py", "--agent", "pi", "--agent", "opencode", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert containers_of_dead_sessions() == []
    for run in runs_of(tmp_path):
        second = [json.loads(p.read_bytes()) for p in run.glob("captures/*.request.json")]
        asked = [call["body"] for call in second if "which_word" in call["task_id"] or call["turn"] == 2]
        assert asked
        assert any("kingfisher" in json.dumps(body["messages"][:-1]) for body in asked)
