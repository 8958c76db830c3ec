"""What is killed while sessions run: a worker by its own agent, a container by podman."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pyarrow.parquet as pq
import pytest
from xdist_workers import is_worker

from pytest_agentcap.cli import main

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("real")]

AGENT = "test-killed"
HOST = ("--agent", "shell", "--sandbox", "host")


def test_a_worker_that_is_killed_loses_its_verdict_and_no_call(project, monkeypatch, capsys):
    project.write_shell_agent()
    mended = project.path / "mended"
    # The parent of an agent on this machine is its worker.
    kill = f"python3 call one; [ -e {mended} ] || {{ kill -9 $PPID; sleep 98731; }}; python3 call two"
    project.write_jsonl(
        {"id": "kills", "input": kill}, *({"id": f"t{n}", "input": "python3 call hi"} for n in range(3))
    )
    done = project.pytest(*HOST, "-n2")
    assert done.ret == 1
    [run] = project.runs()
    assert {each["session"]: each["verdict"] for each in project.results()} == {
        "kills": "infra",
        **dict.fromkeys(("t0", "t1", "t2"), "captured"),
    }
    rows = pq.read_table(run / "captures.parquet", columns=["session", "complete"]).to_pylist()
    assert [row for row in rows if row["session"] == "kills"] == [{"session": "kills", "complete": True}]
    assert not list(run.glob("captures/*.journal"))
    assert not [each for each in psutil.process_iter(["cmdline"]) if "98731" in (each.info["cmdline"] or ())]

    monkeypatch.chdir(project.path)
    assert main(["merge", run.name]) == 1
    assert "infra: prompts.jsonl::test_task[shell-scripted-kills]" in capsys.readouterr().err
    mended.touch()
    project.pytest(*HOST, "-n2", "--resume", run.name).assert_outcomes(passed=1)
    assert main(["merge", run.name]) == 0


OWN_TEST = """
    import os, signal, time

    def test_own(agent_session):
        controller = os.getppid()
        os.kill(controller, signal.SIGKILL)
        # The signal is on its way when `kill` returns.
        while os.getppid() == controller:
            time.sleep(0.01)
"""


@pytest.mark.parametrize(
    ("path", "calls"),
    [("prompts.jsonl", 1), ("test_own.py", 0)],
    ids=["while its agent works", "before its agent is started"],
)
def test_no_agent_is_to_blame_when_its_controller_was_killed(project, monkeypatch, path, calls):
    project.write_shell_agent()
    project.write_jsonl({"id": "kills", "input": "python3 call one; kill -9 ${AGENTCAP_OWNER%%-*}; exit 3"})
    project.write("test_own.py", OWN_TEST)
    monkeypatch.chdir(project.path)
    assert project.pytest(*HOST, "-n1", path).ret == -9
    [run] = project.runs()
    # Its worker still lives, and tells of the session's end unless it ends before. This process may be a worker, too.
    deadline = time.monotonic() + 60
    while any(is_worker(each, project.path) for each in psutil.process_iter() if each.pid != os.getpid()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert main(["export", run.name]) == 0
    [result] = project.results()
    assert (result["verdict"], result["calls"]) == ("infra", calls)


@pytest.fixture
def podman(need: Callable[[str], None]) -> Iterator[Callable[..., str]]:
    need("podman")

    def run(*words: str) -> str:
        return subprocess.run(["podman", *words], capture_output=True, text=True, check=False).stdout.strip()

    yield run
    run("image", "rm", "--ignore", f"localhost/agentcap-{AGENT}:latest")


def test_a_container_that_is_killed_is_no_failure_of_the_agent(project, podman, monkeypatch):
    project.write_shell_agent()
    definition = project.path / "agents" / "shell" / "agent.toml"
    definition.write_text(definition.read_text().replace('name = "shell"', f'name = "{AGENT}"'))
    definition.with_name("Containerfile").write_text("FROM localhost/agentcap-base:latest\nUSER agent\n")
    project.write_jsonl(
        {"id": "a", "input": "python3 call hi; echo said; [ -e mended ] || sleep 600"},
        {"id": "b", "input": "python3 call hi"},
    )
    project.write("files/empty", "")
    options = ["-q", "-p", "agentcap", "-p", "no:cacheprovider", "--agent", "shell", "--workspace", "files"]
    command = [sys.executable, "-m", "pytest", *options]
    process = subprocess.Popen(command, cwd=project.path, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not any(path.stat().st_size for path in project.path.glob(".agentcap/*/sessions/a_turn_01.out")):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.1)
        podman("kill", *podman("ps", "--quiet", "--filter", f"label=agentcap.agent={AGENT}").split())
        assert process.wait(120) == 1
    finally:
        process.kill()
        process.wait()
    first, second = project.results()
    assert (first["verdict"], second["verdict"]) == ("infra", "captured")
    assert first["reason"].startswith("the container ended while the agent ran")
    assert (first["calls"], second["calls"]) == (1, 1)
    [run] = project.runs()
    assert pq.read_table(run / "captures.parquet", columns=["complete"])["complete"].to_pylist() == [True, True]
    assert podman("ps", "--all", "--quiet", "--filter", f"label=agentcap.agent={AGENT}") == ""

    project.write("files/mended", "")
    assert subprocess.run([*command, "--resume", run.name], cwd=project.path, stdout=subprocess.DEVNULL).returncode == 0
    verdicts = {each["session"]: each["verdict"] for each in project.results()}
    assert verdicts == {"a": "infra", "a-a2": "captured", "b": "captured"}
    assert pq.read_table(run / "captures.parquet").num_rows == 3
