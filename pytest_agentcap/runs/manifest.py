"""run.json: what a run is, under the names that agentcap's readers know."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_agentcap.runs.circumstances import found_in
from pytest_agentcap.runs.layout import RunDirectory, write_whole
from pytest_agentcap.runs.results import read_result

# While tests run, so much of the time may go into run.json: it has a kilobyte for each session.
_SHARE = 0.02


# What a session's result has most of its bytes in, and run.json has nothing of.
_BULKY = frozenset(
    {"telemetry", "assessment", "graders", "grader_hashes", "metadata", "hint", "notes", "images", "models"}
)


@dataclass(slots=True)
class Manifest:
    """Keep a run's manifest in step with its results; only the controller of a test session holds one.

    `facts` come first in the file: agent, model, provider, upstream, turns_per_task, followup, label and versions.
    """

    run: RunDirectory
    facts: dict[str, Any]
    _seen: dict[Path, tuple[tuple[int, ...], dict[str, Any]]] = field(default_factory=dict)
    _due: float = 0.0

    def results(self) -> list[dict[str, Any]]:
        """Read the results by corpus, task, trial and attempt."""
        return sorted((read_result(path) for path in self.run.results.glob("*.json")), key=_place)

    def outlines(self) -> list[dict[str, Any]]:
        """Return the results without what is long in them, in the same order; unchanged files are not read again."""
        for path in self.run.results.glob("*.json"):
            status = path.stat()
            # The clock of a file system may stand still for milliseconds, but every write makes a new file.
            version = (status.st_mtime_ns, status.st_ino, status.st_size)
            if path not in self._seen or self._seen[path][0] != version:
                self._seen[path] = (version, _outline(read_result(path)))
        return sorted((outline for _, outline in self._seen.values()), key=_place)

    def update(self) -> None:
        """Rewrite run.json from the result files."""
        started = time.monotonic()
        results = self.outlines()
        told = {**_held_to(results), **found_in(results), "tasks": [_task(result) for result in results]}
        document = {**self.facts, **told}
        write_whole(self.run.manifest, json.dumps(document, indent=2).encode() + b"\n")
        ended = time.monotonic()
        self._due = ended + (ended - started) / _SHARE

    def keep_up(self) -> None:
        """Rewrite run.json unless that was done a moment ago; what it then lacks, `read_manifest` has from results."""
        if time.monotonic() >= self._due:
            self.update()


def _place(result: Mapping[str, Any]) -> tuple[Any, ...]:
    return result["corpus"], result["index"], result["task_id"], result["trial"], result["attempt"]


def _outline(result: Mapping[str, Any]) -> dict[str, Any]:
    turns = [{name: turn[name] for name in ("turn", "returncode", "duration_s")} for turn in result["turns"]]
    sampling = {name: value for name, value in (result.get("telemetry") or {}).items() if name == "sampling"}
    short = {key: value for key, value in result.items() if key not in _BULKY}
    return {**short, "turns": turns, "telemetry": sampling}


def _held_to(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what sessions were really given where a corpus overrides what the options say."""
    turns = [max(result.get("turns_planned") or 0, len(result["turns"])) for result in results]
    networks = sorted({result["network"] for result in results if result.get("network")})
    told: dict[str, Any] = {"turns_per_task": max(turns)} if any(turns) else {}
    return told | ({"network": ", ".join(networks)} if networks else {})


def _task(result: dict[str, Any]) -> dict[str, Any]:
    return {
        "task_id": result["task_id"],
        "prompt": result["prompt"],
        "session_id": result["session_id"],
        "completed_turns": result["completed_turns"],
        "turns": result["turns"],
        **{key: result[key] for key in ("session", "corpus", "trial", "attempt", "verdict", "reason", "calls")},
        **{key: result.get(key) for key in ("nodeid", "ended_at", "run_limit")},
    }


def read_manifest(run: RunDirectory) -> dict[str, Any]:
    """Read run.json; a run without one (agentcap writes its own at the end only) is an empty dict.

    Its tasks are as the results have them now, also of a run whose controller was killed or is still at work. Raises
    ValueError naming the file when it is broken, or cannot be read.
    """
    try:
        data = json.loads(run.manifest.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ValueError(f"{run.manifest}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{run.manifest}: not a run manifest: {error}") from error
    if not isinstance(data, dict):
        raise ValueError(f"{run.manifest}: not a run manifest: no object")
    if isinstance(tasks := data.get("tasks"), list) and run.results.is_dir():
        data["tasks"] = _as_of_now(run, tasks)
    return data


def _as_of_now(run: RunDirectory, tasks: list[Any]) -> list[Any]:
    """Return a manifest's tasks, and from results those that had not begun or had no verdict when it was written."""
    open_ = {task["session"] for task in tasks if isinstance(task, dict) and task.get("session") and not _ended(task)}
    listed = {task.get("session") for task in tasks if isinstance(task, dict)}
    told = {}
    for path in sorted(run.results.glob("*.json")):
        if path.stem in open_ or path.stem not in listed:
            # Who counts results names the files that are none, and what is gone was taken away.
            with contextlib.suppress(ValueError, KeyError, OSError):
                told[path.stem] = _task(_outline(read_result(path)))
    known = [
        told.pop(task["session"], task) if isinstance(task, dict) and "session" in task else task for task in tasks
    ]
    return [*known, *told.values()]


def _ended(task: Mapping[str, Any]) -> bool:
    return task.get("verdict") is not None and task.get("ended_at") is not None
