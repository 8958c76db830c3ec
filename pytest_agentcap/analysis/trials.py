"""Trials of one task joined to one row, with their estimates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from msgspec import UNSET, UnsetType

from pytest_agentcap.analysis.estimators import (
    flakiness,
    pass_at_k,
    pass_pow_k,
    plug_in_pass_at_k,
    plug_in_pass_pow_k,
    wilson_interval,
)
from pytest_agentcap.formats.eval_rows import (
    CaptureResult,
    Estimates,
    GraderResult,
    Origin,
    Timing,
    TrialEntry,
    TrialResult,
)
from pytest_agentcap.formats.results_jsonl import JUDGED
from pytest_agentcap.formats.trajectory import has_failed

_HARNESS_KEYS = frozenset({"trajectoryRichness", "turnCount", "exitCode", "timedOut"})
UNGRADED = "ungraded"


def trial_rows(rows: Iterable[CaptureResult]) -> Iterator[TrialResult]:
    """Join the trials of each task; those of one must follow each other."""
    for _, trials in groupby(rows, key=_task):
        yield trial_row(list(trials))


def _task(row: CaptureResult) -> tuple[str | None, str]:
    return (row.origin.corpus if row.origin else None, row.id)


def trial_row(rows: Sequence[CaptureResult]) -> TrialResult:
    """Join the trials of one task, at least one.

    The plug-in estimates are told under the names that agent-eval-harness has for them, when a trial was judged.
    """
    first = rows[0]
    entries = [trial_entry(row, number) for number, row in enumerate(rows, 1)]
    told = estimates(entries)
    n, c, k = told.judged, told.passed, len(entries)
    at_k, pow_k = plug_in_pass_at_k(n, c, k), plug_in_pass_pow_k(n, c, k)
    return TrialResult(
        id=first.id,
        input=first.input,
        hint=first.hint,
        k=k,
        trials=entries,
        metadata={key: value for key, value in first.metadata.items() if key not in _HARNESS_KEYS},
        pass_rate=c / n if n else UNSET,
        pass_at_k=UNSET if at_k is None else at_k,
        pass_exp_k=UNSET if pow_k is None else pow_k,
        estimates=told,
    )


def entry_rows(row: TrialResult) -> list[CaptureResult]:
    """Take the trials of a task apart, each a row of a session; what the whole had no place for is not known."""
    return [_entry_row(row, entry) for entry in row.trials]


def _entry_row(row: TrialResult, entry: TrialEntry) -> CaptureResult:
    metadata = row.metadata if isinstance(row.metadata, dict) else {}
    score: GraderResult | UnsetType = UNSET
    if isinstance(entry.passed, bool) and isinstance(entry.score, int | float):
        score = GraderResult(entry.passed, entry.score, entry.reasoning, entry.outcome)
    return CaptureResult(
        id=row.id,
        input=row.input,
        output=entry.output,
        hint=row.hint,
        trajectory=entry.trajectory,
        metadata=metadata,
        timing=Timing(start=None, end=None, session_creation=None, total=entry.duration),
        tool_errors=entry.tool_errors or has_failed(entry.trajectory),
        errors=entry.errors,
        score=score,
        outcome=entry.outcome,
        verdict=entry.verdict,
        reason=entry.reason,
        graders=entry.graders,
        origin=entry.origin or Origin(None, row.id, None, entry.trial_num, 1, None, None, []),
    )


def trial_entry(row: CaptureResult, number: int) -> TrialEntry:
    """Make a session's row an entry among its task's trials."""
    score = row.score
    return TrialEntry(
        trial_num=row.origin.trial if row.origin else number,
        output=row.output,
        trajectory=row.trajectory,
        duration=row.timing.total,
        passed=score.passed if score else UNSET,
        score=score.score if score else UNSET,
        reasoning=score.reasoning if score else UNSET,
        outcome=score.outcome if score else UNSET,
        verdict=row.verdict,
        reason=row.reason,
        tool_errors=row.tool_errors,
        errors=row.errors,
        graders=row.graders,
        origin=row.origin,
    )


def is_judged(entry: TrialEntry) -> bool:
    """Tell whether a trial passed or failed; what the infrastructure or a grader broke did neither."""
    return entry.passed is not UNSET and entry.verdict in (UNSET, "passed", "failed")


def estimates(trials: Sequence[TrialEntry]) -> Estimates:
    """Estimate rates from the judged trials, for every k up to their number; others are counted by verdict."""
    return estimated([_verdict(trial) for trial in trials])


def _verdict(trial: TrialEntry) -> str:
    if is_judged(trial):
        return "passed" if trial.passed is True else "failed"
    return trial.verdict if isinstance(trial.verdict, str) else UNGRADED


def estimated(verdicts: Sequence[str]) -> Estimates:
    """Do the same from the verdicts of a task's trials."""
    n, c = sum(verdict in JUDGED for verdict in verdicts), sum(verdict == "passed" for verdict in verdicts)
    return Estimates(
        judged=n,
        passed=c,
        excluded=dict(sorted(Counter(verdict for verdict in verdicts if verdict not in JUDGED).items())),
        pass_rate=c / n if n else None,
        pass_rate_interval=wilson_interval(n, c),
        pass_at={str(k): pass_at_k(n, c, k) for k in range(1, len(verdicts) + 1)},
        pass_pow={str(k): pass_pow_k(n, c, k) for k in range(1, len(verdicts) + 1)},
        flakiness=flakiness(n, c),
    )
