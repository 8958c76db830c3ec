"""Finished rows graded again, or for the first time, by graders as they are run for sessions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, to_builtins

from pytest_agentcap.analysis.trials import entry_rows, trial_row
from pytest_agentcap.formats.eval_rows import CaptureResult, GraderResult, NamedResult, TrialResult
from pytest_agentcap.formats.plain_rows import plain_trials
from pytest_agentcap.formats.results_jsonl import score_of
from pytest_agentcap.grading.base import Grader, GraderError, GraderInput
from pytest_agentcap.grading.base import GraderResult as Verdict
from pytest_agentcap.grading.builtin import Toolbox
from pytest_agentcap.grading.combine import run_graders
from pytest_agentcap.grading.find import load_graders
from pytest_agentcap.grading.judge import JudgeServer

# What an earlier grading left in a row.
GRADES = frozenset({"score", "outcome", "graders", "verdict", "reason"})
_GRADABLE = frozenset({None, "captured", "passed", "failed", "grader_error"})


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


def is_gradable(row: Mapping[str, Any]) -> bool:
    """Tell whether a row's session came to an answer; what broke, or had its time, is no failed one."""
    return row.get("verdict") in _GRADABLE


def regrade(row: Mapping[str, Any], grading: Grading) -> tuple[dict[str, Any], str | None]:
    """Return a row with a new grade in the place of an old one, and what went wrong."""
    grade = grading.grade(row)
    kept = {key: value for key, value in row.items() if key not in GRADES}
    return {**kept, **score_fields(grade)}, grade.problem


def regrade_trials(row: TrialResult, grading: Grading) -> tuple[TrialResult, list[str]]:
    """Return a task's row with its trials graded anew, and what went wrong, one line each."""
    rows: list[CaptureResult] = []
    problems: list[str] = []
    for each in entry_rows(row):
        told = to_builtins(each)
        if is_gradable(told):
            told, problem = regrade(told, grading)
            problems += [f"trial {len(rows) + 1}: {problem}"] if problem else []
        rows.append(msgspec.convert(told, CaptureResult))
    joined = trial_row(rows)
    if row.estimates is UNSET:
        joined = plain_trials(joined)
    return msgspec.structs.replace(joined, metadata=row.metadata), problems


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
