"""What is replayed: the recorded sessions of a run, of captures parquets, or of a dataset on the Hub."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pytest_agentcap.conversation.files import HUB, CapturesFile, find_files
from pytest_agentcap.conversation.records import CallRecord, SessionKey, record_of_capture, record_of_row
from pytest_agentcap.runs.captures import Capture, CaptureError, read_head
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.listing import find_run
from pytest_agentcap.runs.manifest import read_manifest
from pytest_agentcap.runs.order import order_calls, results_by_session

_NARROW = (
    *("request_id", "run_id", "corpus", "task_id", "trial", "attempt", "session", "call_index", "started_at_ns"),
    *("captured_at", "agent", "model"),
)
_NEEDED = ("request_id", "request", "response")


class RecordingError(OSError):
    """Say in one line which recording cannot be read, and why."""


@dataclass(frozen=True, slots=True)
class RecordedSession:
    """Name a recorded session; `load` reads its calls in the order in which they were made.

    `load` raises RecordingError.
    """

    key: SessionKey
    agent: str | None
    model: str | None
    load: Callable[[], list[CallRecord]]

    @property
    def task(self) -> tuple[str, int]:
        return self.key[2], self.key[3]


@dataclass(frozen=True, slots=True)
class Recording:
    """Hold the sessions of a source, of each task and trial the last attempt."""

    source: str
    sessions: tuple[RecordedSession, ...]

    @property
    def models(self) -> tuple[str, ...]:
        """Return the models that were recorded, each once."""
        return tuple(dict.fromkeys(session.model for session in self.sessions if session.model))


def open_recording(source: str, workspace: Path) -> Recording:
    """List the sessions of a run directory, a run id, a captures parquet, a folder of such, or a dataset on the Hub.

    Bodies are read later, session by session. Raises RecordingError.
    """
    run = None if source.startswith(HUB) else find_run(workspace, source)
    try:
        if run is not None:
            sessions = _of_run(run)
        else:
            # Tests may change the directory before a session is read.
            place = source if source.startswith(HUB) or not Path(source).exists() else Path(source).absolute()
            sessions = [each for file in find_files(place) for each in _of_parquet(file)]
    except ValueError as error:
        raise RecordingError(f"replay:{source}: {str(error).removeprefix(f'{source}: ')}") from error
    except OSError as error:
        raise RecordingError(f"replay:{source}: it cannot be read: {error}") from error
    if not sessions:
        raise RecordingError(f"replay:{source}: it holds no call")
    return Recording(source, tuple(sessions))


def _of_run(run: RunDirectory) -> list[RecordedSession]:
    results, _ = results_by_session(run)
    manifest = read_manifest(run)
    known = {name: manifest.get(name) for name in ("agent", "model")} | {"run_id": run.id}
    order = order_calls(run, results)
    if order.errors:
        raise ValueError(order.errors[0])
    heads = [CallRecord(known | _told(run, rid), b"", None) for rid in order.rids]
    return [
        RecordedSession(key, heads[0].text("agent"), heads[0].text("model"), partial(_load_run, run, known, heads))
        for key, heads in _last_attempts(_by_session(heads)).items()
    ]


def _told(run: RunDirectory, rid: str) -> dict[str, Any]:
    head = read_head(run.captures / f"{rid}.request.json")
    return {name: value for name, value in head.items() if value is not None} | {"request_id": rid}


def _load_run(run: RunDirectory, known: Mapping[str, Any], heads: Iterable[CallRecord]) -> list[CallRecord]:
    try:
        return [record_of_capture(Capture(head.rid, run.captures), known) for head in heads]
    except (CaptureError, OSError) as error:
        raise RecordingError(str(error)) from error


def _of_parquet(file: CapturesFile) -> list[RecordedSession]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    heads: list[CallRecord] = []
    try:
        with file.open() as opened:
            parquet = pq.ParquetFile(opened)
            names = parquet.schema_arrow.names
            for name in _NEEDED:
                if name not in names:
                    raise ValueError(f"{file.name}: not a captures parquet: it has no column {name}")
            narrow = [name for name in _NARROW if name in names]
            for group in range(parquet.num_row_groups):
                rows = parquet.read_row_group(group, columns=narrow).to_pylist()
                heads += [CallRecord({**row, "place": (group, at)}, b"", None) for at, row in enumerate(rows)]
    except (pa.ArrowException, *file.raises) as error:
        raise ValueError(f"{file.name}: not a captures parquet: {error}") from error
    sessions = _last_attempts(_by_session(heads))
    return [
        RecordedSession(key, calls[0].text("agent"), calls[0].text("model"), partial(_load_rows, file, calls))
        for key, calls in sessions.items()
    ]


def _load_rows(file: CapturesFile, heads: Iterable[CallRecord]) -> list[CallRecord]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    records, groups = [], {}
    try:
        with file.open() as opened:
            parquet = pq.ParquetFile(opened)
            for head in heads:
                group, at = head.facts["place"]
                if group not in groups:
                    groups = {group: parquet.read_row_group(group)}
                records.append(record_of_row(groups[group].slice(at, 1).to_pylist()[0]))
    except (pa.ArrowException, OSError, ValueError, *file.raises) as error:
        raise RecordingError(f"{file.name}: it cannot be read: {error}") from error
    return records


def _by_session(heads: Iterable[CallRecord]) -> dict[SessionKey, list[CallRecord]]:
    sessions: dict[SessionKey, list[CallRecord]] = {}
    for head in heads:
        sessions.setdefault(head.session, []).append(head)
    return {key: sorted(calls, key=lambda call: call.order) for key, calls in sessions.items()}


def _last_attempts(sessions: dict[SessionKey, list[CallRecord]]) -> dict[SessionKey, list[CallRecord]]:
    last: dict[tuple[str, str, str, int], int] = {}
    for run_id, corpus, task, trial, attempt, _ in sessions:
        place = (run_id, corpus, task, trial)
        last[place] = max(attempt, last.get(place, attempt))
    return {key: calls for key, calls in sessions.items() if last[key[:4]] == key[4]}
