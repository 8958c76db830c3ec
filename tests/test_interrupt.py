"""Ctrl-C and kill -9, sent to a real controller while its agents are at work."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from pytest_agentcap.cli import main
from pytest_agentcap.sandbox.reaper import OWNER_VARIABLE, state_root

BOUND_S = 30
AGENTS = ("--agent", "shell", "--sandbox", "host")


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Controller:
    """A pytest controller that leads a session of its own, as one does that a terminal started."""

    def __init__(self, project, name: str, *options: str) -> None:
        self.folder = project.path / name
        self.folder.mkdir()
        self.output = self.folder / "output"
        command = [sys.executable, "-m", "pytest", "-p", "agentcap", "-p", "xdist", "-p", "no:cacheprovider"]
        environment = {**os.environ, "AGENTCAP_WORKSPACE": str(self.folder)}
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [*command, *AGENTS, *options],
                cwd=project.path,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def agents(self) -> list[psutil.Process]:
        """Return the processes that carry this controller's marker."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(OWNER_VARIABLE, "").startswith(f"{self.process.pid}-"):
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def wait_until_busy(self, agents: int) -> None:
        until(lambda: self._answered() == agents or self.process.poll() is not None)
        assert self.process.poll() is None, self.output.read_text()
        assert self.agents()

    def _answered(self) -> int:
        """Count the agents that have printed their model's answer, and sleep now."""
        return sum(path.stat().st_size > 0 for path in self.folder.glob(".agentcap/*/sessions/*.err"))

    def interrupt(self, group: bool) -> None:
        (os.killpg if group else os.kill)(self.process.pid, signal.SIGINT)

    def wait(self) -> int:
        until(lambda: self.process.poll() is not None, BOUND_S)
        return self.process.returncode

    def folders(self) -> list[Path]:
        return list(state_root().glob(f"{self.process.pid}-*"))

    def group(self) -> list[int]:
        """Return what still runs of the process group: the controller's workers."""
        return [p.pid for p in psutil.process_iter() if _group_of(p.pid) == self.process.pid and _runs(p)]

    @property
    def run(self) -> Path:
        [run] = self.folder.glob(".agentcap/*/")
        return run

    def results(self) -> list[dict[str, object]]:
        return [json.loads(path.read_bytes()) for path in self.run.glob("results/*.json")]


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def start(project, request):
    project.write_shell_agent()
    project.write_jsonl(*({"id": f"t{n}", "input": f"python3 call {n} >&2; sleep 600"} for n in range(3)))

    def start(name: str, *options: str) -> Controller:
        controller = Controller(project, name, *options)
        request.addfinalizer(lambda: _end(controller))
        return controller

    return start


def _end(controller: Controller) -> None:
    if controller.process.poll() is None:
        os.killpg(controller.process.pid, signal.SIGKILL)
        controller.process.wait()
    for process in controller.agents():
        process.kill()


@pytest.mark.parametrize("workers", [0, 2])
def test_one_ctrl_c_ends_everything_and_keeps_the_captures(start, workers):
    controllers = {group: start(f"group-{group}", f"-n{workers}") for group in (True, False)}
    for group, controller in controllers.items():
        controller.wait_until_busy(max(1, workers))
        controller.interrupt(group)
    for controller in controllers.values():
        assert controller.wait() == pytest.ExitCode.INTERRUPTED, controller.output.read_text()
        assert controller.agents() == []
        assert controller.group() == []
        assert controller.folders() == []
        results = controller.results()
        assert {result["verdict"] for result in results} == {"infra"}
        assert len(results) == max(1, workers)
        assert pq.read_table(controller.run / "captures.parquet").num_rows == len(results)
        assert not list(controller.run.glob("captures/*.journal"))
        assert "INTERNALERROR" not in controller.output.read_text()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_second_ctrl_c_leaves_nothing_running_either(start, workers):
    controllers = {group: start(f"group-{group}", f"-n{workers}") for group in (True, False)}
    for group, controller in controllers.items():
        controller.wait_until_busy(max(1, workers))
        controller.interrupt(group)
    time.sleep(0.3)
    for group, controller in controllers.items():
        if controller.process.poll() is None:
            controller.interrupt(group)
    for controller in controllers.values():
        controller.wait()
        until(lambda controller=controller: not controller.group(), BOUND_S)
        assert controller.agents() == []
        assert controller.folders() == []
        assert main(["export", str(controller.run)]) == 0
        assert pq.read_table(controller.run / "captures.parquet").num_rows == max(1, workers)


def test_ctrl_c_while_the_upstream_is_checked_leaves_nothing(start):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        controller = start("check", "--model", "m", "--upstream", f"http://127.0.0.1:{silent.getsockname()[1]}")
        connection, _ = silent.accept()
        with connection:
            assert controller.folders()
            controller.interrupt(True)
            assert controller.wait() == pytest.ExitCode.INTERRUPTED, controller.output.read_text()
    assert controller.folders() == []
    assert not list(controller.folder.glob(".agentcap/*/"))


def test_what_a_killed_controller_left_is_removed_by_the_next_session(start, project):
    controller = start("killed", "-n2")
    controller.wait_until_busy(2)
    controller.process.kill()
    controller.process.wait()
    assert controller.folders()
    project.write_tasks("echo hi", name="next/tasks.txt")
    project.capture("next").assert_outcomes(passed=1)
    # Any other session of this user that starts in the meantime may be the one that reaps.
    until(lambda: not controller.agents() and not controller.folders())
    until(lambda: not controller.group(), BOUND_S)
    assert len(list(controller.run.glob("captures/*.request.json"))) == 2
