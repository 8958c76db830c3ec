"""Runs to report on: result files, and captures of one of their sessions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.results import SessionResult, save_result

EVENT = {"kind": "path_escape", "detail": "cat /etc/passwd"}


@pytest.fixture
def make_run(workspace: Path) -> Callable[..., RunDirectory]:
    """Write a run; each task is its id, its verdict, and what else its result says."""

    def make(name: str, *tasks: tuple[str, str | None, dict[str, Any]], model: str = "m") -> RunDirectory:
        run = RunDirectory(workspace / ".agentcap" / name)
        for place in (run.captures, run.results):
            place.mkdir(parents=True, exist_ok=True)
        manifest = {"agent": "pi", "model": model, "upstream": "https://host/v1", "tasks": []}
        run.manifest.write_text(json.dumps(manifest))
        for number, (task, verdict, more) in enumerate(tasks, 1):
            given: dict[str, Any] = {
                "session": task if more.get("trial", 1) == 1 else f"{task}-t{more['trial']}",
                "task_id": task, "index": number, "corpus": "shop", "source": f"tasks.txt:{number}", "trial": 1,
                "attempt": 1, "agent": "pi", "agent_version": "1.0", "model": model, "sandbox": "host", "nodeid": "n",
                "prompt": f"do {task}", "started_at": 10.0, "ended_at": 12.5, "verdict": verdict, "calls": 2,
                "prompt_tokens": 100, "completion_tokens": 20,
            }  # fmt: skip
            known = {name: more.pop(name) for name in list(more) if name not in SessionResult.__slots__}
            save_result(run, SessionResult(**{**given, **more}))
            path = run.result(given["session"] if "session" not in more else more["session"])
            path.write_text(json.dumps({**json.loads(path.read_bytes()), **known}))
        return run

    return make


@pytest.fixture
def assessment() -> Callable[..., dict[str, Any]]:
    """Shape what the oracles of a task on a repository found."""

    def make(repository: str, score: float, *, failed: str | None = None, events: int = 0) -> dict[str, Any]:
        found = {
            "repository": repository, "difficulty": "easy", "success": failed is None, "partial_score": score / 100,
            "score": score, "commands": 4, "commands_ok": 3, "failure_reason": failed,
            "outputs": [{"key": "count", "ok": not failed, "expected": 3, "actual": 4 if failed else 3, "weight": 1.0}],
            "safety_events": [EVENT] * events,
        }  # fmt: skip
        return {"assessment": found}

    return make
