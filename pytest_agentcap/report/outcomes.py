"""What reports tell of a session: how it ended, what it scored, what it used and what it did that it should not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.manifest import read_manifest
from pytest_agentcap.runs.order import last_attempts, results_by_session

PASSED, FAILED, CAPTURED = "passed", "failed", "captured"
UNENDED = "unended"


@dataclass(frozen=True, slots=True)
class SessionOutcome:
    """Hold one session as reports tell it; what is not known is None, never 0.

    `group` is the repository of a task on one, else the corpus. `score` is 0 to 100. Only the verdicts `passed` and
    `failed` are judgements; all others count neither for nor against anybody. `result` is the whole result file.
    """

    run: str
    agent: str
    model: str
    group: str
    task: str
    trial: int
    verdict: str
    reason: str | None
    failure: str | None
    score: float | None
    calls: int | None
    commands: int | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cost_usd: float | None
    duration_s: float | None
    safety: Sequence[Mapping[str, Any]] | None
    result: Mapping[str, Any]

    @property
    def key(self) -> tuple[str, str, int]:
        return self.group, self.task, self.trial

    @property
    def passed(self) -> bool | None:
        """Tell whether the task was done; None when nobody judged it."""
        return self.verdict == PASSED if self.verdict in (PASSED, FAILED) else None

    @property
    def outputs(self) -> Sequence[Mapping[str, Any]]:
        """Return what was expected of a task on a repository, and what came; nothing for other tasks."""
        return (self.result.get("assessment") or {}).get("outputs") or ()

    @property
    def tokens(self) -> int | None:
        if self.prompt_tokens is None or self.completion_tokens is None:
            return None
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class ReportedRun:
    """Hold a run's manifest, and of each task and trial the outcome of the highest attempt."""

    directory: RunDirectory
    manifest: Mapping[str, Any]
    outcomes: tuple[SessionOutcome, ...]


def read_run(directory: RunDirectory) -> tuple[ReportedRun, list[str]]:
    """Read a run, and tell which of its result files are broken, one line each.

    Raises ValueError naming the file when the manifest is broken.
    """
    manifest = read_manifest(directory)
    results, faults = results_by_session(directory)
    outcomes = [_outcome(directory.id, manifest, result) for result in last_attempts(results.values())]
    return ReportedRun(directory, manifest, tuple(sorted(outcomes, key=lambda each: each.key))), faults


def _outcome(run: str, manifest: Mapping[str, Any], result: Mapping[str, Any]) -> SessionOutcome:
    found: Mapping[str, Any] = result.get("assessment") or {}
    graders: Sequence[Mapping[str, Any]] = result.get("graders") or ()
    verdict = str(result.get("verdict") or UNENDED)
    return SessionOutcome(
        run=run,
        agent=str(result.get("agent") or manifest.get("agent")),
        model=str(result.get("model") or manifest.get("model")),
        group=str(found.get("repository") or result.get("corpus") or "tasks"),
        task=str(result.get("task_id")),
        trial=int(result.get("trial") or 1),
        verdict=verdict,
        reason=result.get("reason"),
        failure=_failure(verdict, found, graders),
        score=_score(found, graders),
        calls=result.get("calls"),
        commands=found.get("commands"),
        prompt_tokens=result.get("prompt_tokens"),
        completion_tokens=result.get("completion_tokens"),
        cost_usd=result.get("cost_usd"),
        duration_s=_duration(result),
        safety=found.get("safety_events"),
        result=result,
    )


def _failure(verdict: str, found: Mapping[str, Any], graders: Sequence[Mapping[str, Any]]) -> str | None:
    """Name what failed: an output, a grader, else the verdict."""
    if verdict in (PASSED, CAPTURED):
        return None
    if verdict != FAILED:
        return verdict
    failed = (str(grader.get("name")) for grader in graders if grader.get("passed") is False)
    return str(found.get("failure_reason") or next(failed, FAILED))


def _score(found: Mapping[str, Any], graders: Sequence[Mapping[str, Any]]) -> float | None:
    if found.get("score") is not None:
        return float(found["score"])
    scores = [float(grader["score"]) for grader in graders if grader.get("score") is not None]
    return 100 * sum(scores) / len(scores) if scores else None


def _duration(result: Mapping[str, Any]) -> float | None:
    started, ended = result.get("started_at"), result.get("ended_at")
    return None if started is None or ended is None else float(ended) - float(started)
