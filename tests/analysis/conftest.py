"""Rows of results, made as agent-eval-harness writes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def capture(
    identity: str, score: float | dict[str, Any] | None = None, total: int = 1000, **more: Any
) -> dict[str, Any]:
    """Shape a CaptureResult; without a score it is ungraded."""
    row = {
        "id": identity, "input": f"q {identity}", "output": "o",
        "trajectory": [{"type": "message", "content": "o", "timestamp": 5}],
        "metadata": {"agent": "fake", "timedOut": False},
        "timing": {"start": 0, "end": total, "sessionCreation": 0, "total": total}, "toolErrors": False,
    }  # fmt: skip
    if isinstance(score, float | int):
        score = {"pass": score >= 0.5, "score": score}
    return row | ({} if score is None else {"score": score}) | more


def trials(identity: str, *outcomes: bool | None, **more: Any) -> dict[str, Any]:
    """Shape a TrialResult with its plug-in figures; an outcome of None was not judged."""
    entries = [
        {"trialNum": n, "output": "o", "trajectory": [], "duration": 100}
        | ({} if passed is None else {"pass": passed, "score": float(passed)})
        for n, passed in enumerate(outcomes, 1)
    ]
    k, c = len(outcomes), sum(passed is True for passed in outcomes)
    plug_in = (
        {"passRate": c / k, "passAtK": 1 - (1 - c / k) ** k, "passExpK": (c / k) ** k} if None not in outcomes else {}
    )
    return {"id": identity, "input": f"q {identity}", "k": k, "trials": entries, **plug_in, **more}


@pytest.fixture
def write_rows(tmp_path, monkeypatch) -> Callable[..., str]:
    """Write rows into a file of the current folder and return its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AGENTCAP_WORKSPACE", raising=False)

    def write(name: str, *rows: dict[str, Any] | str) -> str:
        lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
        Path(name).write_text("".join(f"{line}\n" for line in lines))
        return name

    return write


@pytest.fixture
def capture_of() -> Callable[..., dict[str, Any]]:
    return capture


@pytest.fixture
def trials_of() -> Callable[..., dict[str, Any]]:
    return trials
