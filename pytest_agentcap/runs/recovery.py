"""Runs whose test session is over: what it left open is closed, by its controller or by any later reader."""

from __future__ import annotations

import fcntl
import os
import time
from dataclasses import dataclass
from pathlib import Path

from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.manifest import Manifest, read_manifest
from pytest_agentcap.runs.pairs import finish_journals
from pytest_agentcap.runs.results import read_result, update_result

_LOOKS = 5
_LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Hold:
    """Mark a run as one whose controller lives; the mark goes with the process, however it ends."""

    descriptor: int

    @classmethod
    def on(cls, run: RunDirectory) -> Hold:
        descriptor = os.open(run.path, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return cls(descriptor)

    @classmethod
    def at_once(cls, run: RunDirectory) -> Hold | None:
        """Mark a run unless another controller has it; readers that look at the mark do so for a moment only."""
        descriptor = os.open(run.path, os.O_RDONLY)
        for _ in range(_LOOKS):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_LOOK_S)
            else:
                return cls(descriptor)
        os.close(descriptor)
        return None

    def release(self) -> None:
        os.close(self.descriptor)


def is_held(run: RunDirectory) -> bool:
    """Tell whether the controller that made a run is still at work."""
    return _is_locked(run.path)


def _is_locked(path: Path) -> bool:
    """Tell whether somebody has a file or folder to himself; two who look at once do not see each other."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def recover(run: RunDirectory, secrets: tuple[str, ...] = ()) -> None:
    """Finish a run that its controller could not: journals, verdicts, manifest. A run that is held is only read.

    Raises OSError or ValueError when something of it cannot be read or written.
    """
    held = is_held(run)
    finish_journals(run.captures, secrets)
    if not held and run.results.is_dir():
        close_results(run)
        facts = read_manifest(run)
        facts.pop("tasks", None)
        Manifest(run, facts).update()


def close_results(run: RunDirectory) -> None:
    """Give a verdict to the sessions whose end nobody recorded: that is never the agent's failure."""
    for path in run.results.glob("*.json"):
        result = read_result(path)
        journal = run.journal(result["session"])
        if result["ended_at"] is None and not (journal.exists() and _is_locked(journal)):
            update_result(path, verdict="infra", reason="its end was not recorded: its worker died")
