from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_agentcap.grading.base import GraderError, GraderInput, GraderResult
from pytest_agentcap.grading.bench import SandboxBench
from pytest_agentcap.grading.builtin import Toolbox
from pytest_agentcap.grading.find import load_graders
from pytest_agentcap.sandbox.base import SandboxOptions
from pytest_agentcap.sandbox.host import HostSandbox
from pytest_agentcap.sandbox.reaper import Owner, OwnerState


@pytest.fixture(scope="module")
def state() -> Iterator[OwnerState]:
    state = Owner.claim()
    yield state
    state.release()


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "frozen"
    folder.mkdir()
    (folder / "answer.txt").write_text("42\n")
    return folder


def graded(state: OwnerState, workspace: Path, command: Any, timeout_s: float = 60) -> GraderResult:
    bench = SandboxBench(HostSandbox(None, state), SandboxOptions(), workspace, "count")
    given = GraderInput("x", "y", workspace, "count", bench=bench, metadata={"command": command})
    [grader] = load_graders(["command"], base=workspace, tools=Toolbox(timeout_s))
    return grader.grade(given)


@pytest.mark.parametrize(
    ("command", "passed", "reasoning"),
    [
        ("grep -q 42 answer.txt", True, "exit code 0; it wrote nothing"),
        ("grep 42 answer.txt", True, "exit code 0; its last line on stdout: 42"),
        ("grep -q 43 answer.txt", False, "exit code 1; it wrote nothing"),
        (["grep", "-q", "$HOME", "answer.txt"], False, "exit code 1; it wrote nothing"),
        ("echo no >&2; echo yes; exit 3", False, "exit code 3; its last line on stderr: no"),
    ],
)
def test_the_exit_code_decides(state: OwnerState, workspace: Path, command: Any, passed: bool, reasoning: str) -> None:
    result = graded(state, workspace, command)

    assert (result.passed, result.reasoning) == (passed, reasoning)
    assert result.outcome == {"exit_code": int(reasoning.split()[2].rstrip(";"))}


def test_a_command_works_on_a_copy_without_the_proxy(state: OwnerState, workspace: Path) -> None:
    script = "rm answer.txt; touch new; env | grep -c AGENTCAP_PROXY_URL; ls"

    assert graded(state, workspace, script).reasoning == "exit code 0; its last line on stdout: new"
    assert [path.name for path in workspace.iterdir()] == ["answer.txt"]


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("echo waiting; sleep 600", "did not finish within 0.5 s; its last line on stdout: waiting"),
        ("yes", "wrote more than 1048576 bytes; its last line on stdout: y"),
        (["/no/such/program"], "/no/such/program cannot be started"),
    ],
)
def test_a_command_that_does_not_end_by_itself_gives_no_verdict(
    state: OwnerState, workspace: Path, command: Any, problem: str
) -> None:
    with pytest.raises(GraderError) as caught:
        graded(state, workspace, command, 0.5 if "waiting" in command else 60)
    assert str(caught.value).startswith(f"grader command: {problem}")
