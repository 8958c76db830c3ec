"""Finished results from wherever they lie: result files, run directories, captures parquets, datasets on the Hub."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from msgspec import to_builtins

from pytest_agentcap.analysis.trials import entry_rows, trial_rows
from pytest_agentcap.conversation.files import HUB, find_files
from pytest_agentcap.conversation.records import record_of_capture
from pytest_agentcap.conversation.session import Conversation, read_conversation
from pytest_agentcap.conversation.sources import Faults, read_parquet, read_run_directory
from pytest_agentcap.formats.eval_files import Record, ResultsError, check_unique, read_records
from pytest_agentcap.formats.eval_rows import CaptureResult, RawTiming, TrialResult
from pytest_agentcap.formats.results_jsonl import capture_row
from pytest_agentcap.formats.told_steps import told_steps
from pytest_agentcap.runs.captures import Capture
from pytest_agentcap.runs.layout import RunDirectory, workspace_folder
from pytest_agentcap.runs.listing import find_run
from pytest_agentcap.runs.order import last_attempts, results_by_session

Kind = Literal["capture", "trials"]
STDIN = "-"
_EXTRACTED_TIMING = frozenset(RawTiming.__struct_encode_fields__)


@dataclass(frozen=True, slots=True)
class Results:
    """Hold the rows of one source: `captures`, or `trials` where tasks were tried several times."""

    name: str
    kind: Kind
    captures: Sequence[CaptureResult] = ()
    trials: Sequence[TrialResult] = ()

    @property
    def empty(self) -> bool:
        return not self.captures and not self.trials


def read_results(target: str, faults: Faults, *, kind: Kind | None = None, unique: bool = False) -> Results:
    """Read a source; `kind` says what a file of rows must hold, else its first line does.

    `target` is a JSONL file, `-` for standard input, a run id or directory, a captures parquet, or a dataset on the
    Hub. What of captures cannot be read is told in `faults`. `unique` refuses ids that stand twice. Raises
    ResultsError.
    """
    sessions = _read_sessions(target, faults)
    if sessions is None:
        return _read_file(target, kind, unique)
    results = _of_sessions(target, sessions)
    if kind == "trials" and results.kind == "capture":
        return Results(target, "trials", trials=tuple(trial_rows(sessions)))
    if kind == "capture" and results.kind == "trials":
        raise ResultsError(f"{target}: holds several trials of a task: read it as trials")
    return results


def read_captures(target: str, faults: Faults) -> list[CaptureResult]:
    """Read one row for each session, each trial of a TrialResult included; raises ResultsError."""
    sessions = _read_sessions(target, faults)
    if sessions is not None:
        return sessions
    return [row for record in read_records_of(target) for row in _sessions_of(record)]


def _sessions_of(record: Record) -> list[CaptureResult]:
    if isinstance(record.value.get("trials"), list):
        return entry_rows(record.to(TrialResult))
    return [capture_of(record)]


def read_any(target: str, faults: Faults) -> list[Record]:
    """Read rows of any kind as they were written, those of captures as CaptureResult rows; raises ResultsError."""
    sessions = _read_sessions(target, faults)
    if sessions is not None:
        return [Record(f"{target}: {row.id}", to_builtins(row)) for row in sessions]
    return read_records_of(target)


def read_records_of(target: str) -> list[Record]:
    """Read the objects of a JSONL file, or of standard input for `-`.

    Raises ResultsError, also when standard input holds nothing: what was to fill it has failed.
    """
    if target == STDIN:
        records = list(read_records("standard input", sys.stdin.buffer.read()))
        if not records:
            raise ResultsError("standard input: holds no line; name a file, or pipe one in")
        return records
    return list(read_records(str(target), _read_bytes(str(target))))


def _read_bytes(target: str) -> bytes:
    try:
        return Path(target).read_bytes()
    except OSError as error:
        raise ResultsError(f"{target}: cannot be read ({error.strerror})") from error


def _read_sessions(target: str, faults: Faults) -> list[CaptureResult] | None:
    """Read the rows of a source of captures; None when the target is a file of rows."""
    path = Path(target)
    if target == STDIN or (path.exists() and not path.is_dir() and path.suffix != ".parquet"):
        return None
    run = None if target.startswith(HUB) else find_run(workspace_folder(), target)
    if run:
        return _rows_of_run(run, faults)
    if not path.exists() and not target.startswith(HUB) and target.count("/") != 1:
        raise ResultsError(f"{target}: neither a file, nor a run in {workspace_folder()}, nor a dataset on the Hub")
    return [capture_row(None, conversation) for conversation in _conversations(target, faults)]


def _conversations(target: str, faults: Faults) -> Iterator[Conversation]:
    for file in find_files(target):
        with closing(file.open()) as opened:
            yield from read_parquet(file.name, faults, latest=True, opened=opened)


def _rows_of_run(run: RunDirectory, faults: Faults) -> list[CaptureResult]:
    """Tell the last attempt of each task and trial, those without a call included."""
    results, _ = results_by_session(run)
    for result in results.values():
        if result.get("verdict") is None:
            faults.add(f"{run.path}: {result.get('session')} has no end yet: still running, or ended before it")
    wanted = {str(result["session"]): result for result in last_attempts(results.values()) if result.get("verdict")}
    rows = {}
    for conversation in read_run_directory(run, faults, latest=True):
        if conversation.name in wanted or not results:
            rows[conversation.name] = capture_row(wanted.get(conversation.name), conversation, run.id)
    rows |= {name: _without_calls(run, result) for name, result in wanted.items() if name not in rows}
    return sorted(rows.values(), key=lambda row: _place(row, wanted))


def session_row(run: RunDirectory, result: Mapping[str, Any]) -> CaptureResult:
    """Tell one session of a run; raises CaptureError or OSError when its captures cannot be read."""
    rids = result.get("request_ids") or ()
    if not rids:
        return _without_calls(run, result)
    facts = {name: result.get(name) for name in ("agent", "agent_version", "model", "corpus", "verdict")}
    records = [record_of_capture(Capture(rid, run.captures), {"run_id": run.id, **facts}) for rid in rids]
    return capture_row(result, read_conversation(records), run.id)


def _without_calls(run: RunDirectory, result: Mapping[str, Any]) -> CaptureResult:
    return capture_row(result, None, run.id, told_steps(run, result))


def _place(row: CaptureResult, results: Mapping[str, Mapping[str, Any]]) -> tuple[Any, ...]:
    origin = row.origin
    result = results.get(origin.session, {}) if origin else {}
    return (result.get("corpus") or "", result.get("index") or 0, row.id, result.get("trial") or 1)


def _of_sessions(target: str, rows: Sequence[CaptureResult]) -> Results:
    several = any(row.origin and row.origin.trial > 1 for row in rows)
    if several:
        return Results(target, "trials", trials=tuple(trial_rows(rows)))
    return Results(target, "capture", captures=tuple(rows))


def _read_file(target: str, kind: Kind | None, unique: bool) -> Results:
    records = read_records_of(target)
    if not records:
        raise ResultsError(f"{target}: holds no result")
    found = kind or _kind_of(records[0])
    if unique:
        check_unique(records)
    if found == "trials":
        return Results(target, "trials", trials=tuple(record.to(TrialResult) for record in records))
    return Results(target, "capture", captures=tuple(map(capture_of, records)))


def capture_of(record: Record) -> CaptureResult:
    """Read a CaptureResult, or what `extract` and `grade` write of a session, which tells less of it.

    Raises ResultsError.
    """
    value = record.value
    timing = value.get("timing")
    if not isinstance(timing, dict) or timing.keys() != _EXTRACTED_TIMING:
        return record.to(CaptureResult)
    kept = {key: each for key, each in value.items() if key != "error"}
    errors = {"errors": [value["error"]]} if "error" in value else {}
    told = {"metadata": {}, **kept, **errors, "timing": {**timing, "sessionCreation": None}}
    return Record(record.place, told).to(CaptureResult)


def _kind_of(record: Record) -> Kind:
    value = record.value
    if isinstance(value.get("trials"), list):
        return "trials"
    if isinstance(value.get("trajectory"), list) and isinstance(value.get("timing"), dict):
        return "capture"
    raise ResultsError(
        f"{record.place}: neither a TrialResult (with trials and k) nor a CaptureResult (with trajectory and timing)"
    )
