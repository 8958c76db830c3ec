"""`--results`: finished sessions as lines of agent-eval-harness's result files, while the others still run.

Workers leave each session's row in a file of its own; the controller alone writes the result file, so that its lines
are whole whoever dies.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import json, to_builtins

from pytest_agentcap.analysis.trials import trial_row
from pytest_agentcap.assessment import conversation_of
from pytest_agentcap.formats.eval_rows import CaptureResult
from pytest_agentcap.formats.lines import json_line
from pytest_agentcap.formats.results_jsonl import capture_row
from pytest_agentcap.runs.layout import RunDirectory, write_whole
from pytest_agentcap.runs.names import safe_name
from pytest_agentcap.runs.order import last_attempts
from pytest_agentcap.runs.results import read_result

if TYPE_CHECKING:
    from pytest_agentcap.session import AgentSession

_FOLDER = "rows"


def keep_row(state: Path, run: RunDirectory, session: AgentSession) -> None:
    """Leave a finished session's row where the controller finds it."""
    path = _kept(state, run, session.plan.claim.session)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.encode(session.row()))


def _kept(state: Path, run: RunDirectory, session: str) -> Path:
    return state / _FOLDER / run.id / f"{session}.json"


def named_after(path: Path, facts: Mapping[str, Any]) -> Path:
    """Return the file's name for one of several runs: with its agent and model, and its label if it has one."""
    parts = [facts["agent"], str(facts["model"]).rpartition("/")[2], *([facts["label"]] if facts.get("label") else [])]
    return path.with_stem("-".join([path.stem, *map(safe_name, parts)]))


def check_file(path: Path, append: bool) -> None:
    """See that a result file can be written. Raises ValueError in one line, before anything of it is lost."""
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(f"--results {path}: {'a folder' if path.is_dir() else 'its folder is not there'}; name a file")
    if append and path.exists() and path.stat().st_size:
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            if file.read() != b"\n":
                raise ValueError(f"--results {path}: its last line is cut off; repair it, or leave out --append")


@dataclass(slots=True)
class ResultsFile:
    """Write the rows of one run: a CaptureResult for each session, a TrialResult for each task of several trials.

    What sessions of an earlier pytest session left in the run is not written again.
    """

    path: Path
    run: RunDirectory
    state: Path
    trials: int
    began: float = field(default_factory=time.time)
    _rows: dict[str, CaptureResult] = field(default_factory=dict)
    _written: set[tuple[str, ...]] = field(default_factory=set)

    def hold(self, results: Iterable[Mapping[str, Any]]) -> None:
        """Read the rows that are still to be written: the folder of the session's state is about to go."""
        for result in results:
            kept = _kept(self.state, self.run, result["session"])
            if kept.exists():
                self._rows[result["session"]] = json.decode(kept.read_bytes(), type=CaptureResult)

    def add(self, results: Iterable[Mapping[str, Any]], finished: Container[str], *, last: bool = False) -> None:
        """Write what has become whole: sessions, or tasks with all of their trials, whose tests are `finished`.

        With `last`, everything that is not written yet. Raises OSError; the file then ends with the line before.
        """
        tasks: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
        for result in last_attempts(results):
            if result["verdict"] is not None:
                tasks.setdefault((result["corpus"], result["task_id"]), []).append(result)
        for key, trials in tasks.items():
            if self.trials == 1:
                for result in trials:
                    self._add((*key, str(result["trial"])), [result], finished, last)
            elif last or len(trials) >= self.trials:
                self._add(key, sorted(trials, key=lambda result: int(result["trial"])), finished, last)

    def _add(
        self, key: tuple[str, ...], results: Sequence[Mapping[str, Any]], finished: Container[str], last: bool
    ) -> None:
        # Times are kept in milliseconds.
        ours = [result for result in results if result["started_at"] >= self.began - 0.001]
        if key in self._written or not ours or not (last or all(result["nodeid"] in finished for result in ours)):
            return
        rows = [self._row(result) for result in results]
        self._append(json_line("", to_builtins(rows[0] if self.trials == 1 else trial_row(rows))).data)
        self._written.add(key)

    def _append(self, line: bytes) -> None:
        with self.path.open("ab", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            size = file.seek(0, os.SEEK_END)
            try:
                view = memoryview(line)
                while view:
                    view = view[file.write(view) :]
            except OSError:
                file.truncate(size)
                raise

    def _row(self, result: Mapping[str, Any]) -> CaptureResult:
        self.hold([] if result["session"] in self._rows else [result])
        if result["session"] not in self._rows:
            # Its worker died before it could tell more, or it is of an earlier pytest session.
            whole = read_result(self.run.result(result["session"]))
            return capture_row(whole, conversation_of(self.run, whole["request_ids"]), self.run.id)
        return self._rows[result["session"]]


def begin_files(files: Iterable[ResultsFile], append: bool) -> None:
    """Make the files, empty unless they are added to. Raises ValueError for one that cannot be, before any is made."""
    files = list(files)
    for file in files:
        check_file(file.path, append)
    for file in files:
        file.path.open("ab" if append else "wb").close()
