"""Rows as agent-eval-harness writes them, without what this project adds beside it."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from pytest_agentcap.formats.eval_rows import CaptureResult, TrialEntry, TrialResult

_CLEAN = frozenset({"captured", "passed", "failed"})


def plain_capture(row: CaptureResult) -> CaptureResult:
    """Leave out the added fields; a verdict that the original has no name for stays, with its reason."""
    return replace(row, **_left_out(row))


def plain_trials(row: TrialResult) -> TrialResult:
    """Leave out the added fields of a task and of its trials."""
    return replace(row, trials=[_plain_entry(entry) for entry in row.trials], estimates=UNSET)


def _plain_entry(entry: TrialEntry) -> TrialEntry:
    told = _left_out(entry)
    if "verdict" in told:
        told |= {"tool_errors": UNSET, "errors": UNSET}
    return replace(entry, **told)


def _left_out(row: CaptureResult | TrialEntry) -> dict[str, Any]:
    left: dict[str, Any] = {"origin": UNSET}
    if row.verdict in (UNSET, *_CLEAN):
        left |= {"verdict": UNSET, "reason": UNSET}
    if not isinstance(row.graders, list) or len(row.graders) < 2:
        left["graders"] = UNSET
    return left
