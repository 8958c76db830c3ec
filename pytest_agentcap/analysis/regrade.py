"""Finished rows graded again, or for the first time, by graders as they are run for sessions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import UNSET, to_builtins

from pytest_agentcap.formats.eval_rows import GraderResult, NamedResult
from pytest_agentcap.formats.results_jsonl import score_of
from pytest_agentcap.grading.base import Grader, GraderError, GraderInput
from pytest_agentcap.grading.base import GraderResult as Verdict
from pytest_agentcap.grading.builtin import Toolbox
from pytest_agentcap.grading.combine import run_graders
from pytest_agentcap.grading.find import load_graders
from pytest_agentcap.grading.judge import JudgeServer

# What an earlier grading left in a row.
GRADES = frozenset({"score", "outcome", "graders", "verdict", "reason"})


@dataclass(frozen=True, slots=True)
class Grade:
    """Hold what graders say of a row: a score, or why there is none."""

    score: GraderResult | None
    graders: tuple[NamedResult, ...]
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Grading:
    """Grade rows by the same graders; a row has no workspace, so there is no `cwd`."""

    graders: tuple[Grader, ...]

    def grade(self, row: Mapping[str, Any]) -> Grade:
        """Grade a row with `input`, `output` and what else graders are given."""
        prompt = row["input"]
        given = GraderInput(
            input=prompt if isinstance(prompt, str) else tuple(prompt),
            output=row["output"],
            cwd=None,
            task_id=str(row["id"]),
            turns=1 if isinstance(prompt, str) else len(prompt),
            hint=row.get("hint"),
            metadata=row.get("metadata") or {},
            trajectory=row.get("trajectory") or (),
        )
        graded = run_graders(self.graders, given)
        verdicts = [_named(verdict) for verdict in graded.results]
        if graded.error is not None:
            return Grade(None, tuple(verdicts), graded.error)
        passed = all(verdict.passed for verdict in verdicts)
        return Grade(score_of("passed" if passed else "failed", verdicts), tuple(verdicts))


def load_grading(values: Sequence[str], judge: Callable[[], JudgeServer | None]) -> Grading:
    """Load graders, relative to the current folder; raises ValueError for one that cannot be used, `judge` included."""
    try:
        return Grading(load_graders(values, base=Path.cwd(), tools=Toolbox(judge=judge())))
    except GraderError as error:
        raise ValueError(str(error)) from None


def _named(verdict: Verdict) -> NamedResult:
    return NamedResult(
        name=verdict.name,
        passed=verdict.passed,
        score=verdict.score,
        reasoning=verdict.reasoning,
        outcome=None if verdict.outcome is None else dict(verdict.outcome),
        duration_s=round(verdict.duration_s, 6),
    )


def score_fields(grade: Grade) -> dict[str, Any]:
    """Return what a graded row gets: `score` and `outcome`, all graders when there are several, or what went wrong."""
    if grade.score is None:
        others = {"graders": to_builtins(grade.graders)} if grade.graders else {}
        return {"verdict": "grader_error", "reason": grade.problem, **others}
    told: dict[str, Any] = {"score": to_builtins(grade.score)}
    if grade.score.outcome is not UNSET:
        told["outcome"] = grade.score.outcome
    if len(grade.graders) > 1:
        told["graders"] = to_builtins(grade.graders)
    return told
