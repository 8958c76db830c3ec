"""What a workspace holds: its runs at a glance, and which run or call somebody means."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_agentcap.runs.attempts import latest_attempts, read_plan, stands
from pytest_agentcap.runs.captures import Capture, find_captures
from pytest_agentcap.runs.layout import RunDirectory, find_runs
from pytest_agentcap.runs.manifest import read_manifest
from pytest_agentcap.runs.results import GOOD_VERDICTS

_SHORT_RID = re.compile(r"[0-9a-f]{4,32}")


class TargetError(ValueError):
    """Say what a target does not name."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """Tell a run at a glance; `tasks` counts each task and trial once, by its last attempt.

    `finished` is False when a session has no end yet, running or crashed, or has not begun. `to_resume` counts the
    sessions that --resume would run, `command` is the command that does, None while another pytest session is at work
    in the run. `fault` tells why its manifest is unreadable.
    """

    run_id: str
    path: Path
    agent: str | None
    model: str | None
    provider: str | None
    upstream: str | None
    tasks_ok: int
    tasks: int
    captures: int
    finished: bool
    label: str | None = None
    fault: str | None = None
    to_resume: int = 0
    command: str | None = None


def summarize_runs(folder: Path) -> Iterator[RunSummary]:
    """Yield the runs of a workspace by name; only manifests and file names are read."""
    for run in find_runs(folder):
        yield summarize_run(run)


def summarize_run(run: RunDirectory) -> RunSummary:
    """Read a run's manifest and count its captures."""
    try:
        manifest, planned, fault = read_manifest(run), read_plan(run), None
    except (ValueError, OSError) as error:
        manifest, planned, fault = {}, frozenset(), str(error)
    tasks = _last_attempts(manifest.get("tasks"))
    begun = latest_attempts(task for task in tasks if "nodeid" in task)
    missing = planned - begun.keys() - frozenset(manifest.get("skipped") or ())
    left = len(missing) + sum(not stands(task) for task in begun.values())
    waiting = any(run.captures.glob("*.journal")) or any(_stands(task, manifest) is None for task in tasks)
    captures = sum(1 for _ in find_captures(run))
    # A run of the proxy on its own has no sessions; one that agentcap itself is still making has none yet.
    known = bool(tasks) or (not fault and captures > 0 and run.results.is_dir())
    agent, model, provider, upstream = (_text(manifest.get(k)) for k in ("agent", "model", "provider", "upstream"))
    return RunSummary(
        run_id=run.id,
        path=run.path,
        agent=agent,
        model=model,
        provider=provider,
        upstream=upstream,
        tasks_ok=sum(_stands(task, manifest) is True for task in tasks),
        tasks=len(tasks),
        captures=captures,
        finished=known and not waiting and not missing,
        label=_text(manifest.get("label")),
        fault=fault,
        to_resume=left,
        command=_resume_command(run, manifest) if left else None,
    )


def _resume_command(run: RunDirectory, manifest: dict[str, Any]) -> str | None:
    """Return what was typed, and --resume with it, unless the run is being worked in; a key is not part of it."""
    from pytest_agentcap.runs.recovery import is_held

    words = manifest.get("command")
    if is_held(run):
        return None
    return shlex.join(["pytest", *map(str, words), "--resume", run.id]) if isinstance(words, list) else None


def _last_attempts(tasks: Any) -> list[dict[str, Any]]:
    last: dict[tuple[Any, ...], dict[str, Any]] = {}
    listed = [task for task in tasks if isinstance(task, dict)] if isinstance(tasks, list) else []
    for task in sorted(listed, key=lambda task: task.get("attempt") or 1):
        last[(task.get("corpus"), task.get("task_id"), task.get("trial"), task.get("nodeid"))] = task
    return list(last.values())


def _stands(task: dict[str, Any], manifest: dict[str, Any]) -> bool | None:
    """Tell whether a task came out well, None while that is open; agentcap's manifests count turns instead."""
    if "verdict" in task:
        return None if task["verdict"] is None else task["verdict"] in GOOD_VERDICTS
    return bool(task.get("completed_turns") == manifest.get("turns_per_task", 1))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def find_run(folder: Path, target: str) -> RunDirectory | None:
    """Return the run that a target names: an id in the workspace, a run directory, or its `captures` directory."""
    path = Path(target)
    for candidate in (folder / target, path, path.parent if path.name == "captures" else path):
        if (candidate / "captures").is_dir():
            return RunDirectory(candidate.resolve())
    return None


def find_call(folder: Path, target: str) -> Capture | None:
    """Return the call in a workspace whose rid is, or starts with, these four or more hex digits.

    Raises TargetError when several do.
    """
    if not _SHORT_RID.fullmatch(target):
        return None
    found = [
        Capture(path.name.removesuffix(".request.json"), run.captures)
        for run in find_runs(folder)
        for path in sorted(run.captures.glob(f"{target}*.request.json"))
    ]
    # A run may have been copied: its calls are the same ones.
    rids = sorted({capture.rid for capture in found})
    if len(rids) > 1:
        raise TargetError(f"{target} is ambiguous: {', '.join(rids[:5])}")
    return found[0] if found else None
