"""What graders are given and what they answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pytest_agentcap.grading.process import Finished


class GraderError(Exception):
    """Say in one line why a grader gave no verdict: `grader NAME: what happened; what to do`."""


class Bench(Protocol):
    """Run programs over what the agent wrote, in a place that is made for it and thrown away."""

    def run(self, argv: Sequence[str], timeout_s: float) -> Finished:
        """Run a program in a fresh copy of the workspace; raises BenchError when the place fails."""
        ...


class BenchError(Exception):
    """Say in one line why a program could not be run over the workspace."""


@dataclass(frozen=True, slots=True)
class GraderInput:
    """Hold what a grader is told about a session.

    `input` is the prompt, or the prompts when there were several; `output` the agent's last reply. `cwd` is an absolute
    path: a frozen copy of the workspace, which the agent has written and nobody may execute; None for a finished
    result, whose workspace is gone. `trajectory` has the steps as result files tell them, where they are known. The
    rest is for built-in graders: `references` are the task's, `changed` names the files of the workspace that the
    session changed, None where that is not known, and `bench` runs programs over a copy of the workspace, None where
    there is none. `copy_entry` copies a file or a folder of the agent's sandbox, which has stopped, as its method of
    that name does; None where there is no sandbox any more.
    """

    input: str | tuple[str, ...]
    output: str
    cwd: Path | None
    task_id: str
    turns: int = 1
    hint: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    trajectory: Sequence[Any] | None = None
    references: tuple[str, ...] = ()
    changed: tuple[str, ...] | None = None
    bench: Bench | None = None
    copy_entry: Callable[[str, Path], Sequence[str]] | None = None


@dataclass(frozen=True, slots=True)
class GraderResult:
    """Hold one grader's verdict: `score` is 0 to 1, `outcome` free-form JSON, `duration_s` the grader's wall time."""

    name: str
    passed: bool
    score: float
    reasoning: str | None
    outcome: Mapping[str, Any] | None
    duration_s: float


class Grader(Protocol):
    """Judge what an agent did."""

    @property
    def name(self) -> str: ...

    def grade(self, given: GraderInput) -> GraderResult:
        """Return the verdict; raises GraderError when there is none, which is never the agent's failure."""
        ...
