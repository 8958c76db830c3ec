"""Conversations out of run directories and captures parquets, one session at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from pytest_agentcap.conversation.asked import asked_model
from pytest_agentcap.conversation.files import open_captures
from pytest_agentcap.conversation.records import CallRecord, SessionKey, record_of_capture, record_of_row
from pytest_agentcap.conversation.session import Conversation, read_conversation
from pytest_agentcap.conversation.values import as_object, parse
from pytest_agentcap.runs.captures import Capture, CaptureError, read_head
from pytest_agentcap.runs.circumstances import CIRCUMSTANCES_KEY, circumstances_of
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.manifest import read_manifest
from pytest_agentcap.runs.order import order_calls, results_by_session
from pytest_agentcap.runs.provider import provider_told
from pytest_agentcap.runs.telemetry import call_telemetry

_KEYS = ("run_id", "corpus", "task_id", "trial", "attempt", "session")
_OF_RUN = ("agent", "agent_version", "model", "provider", "label")
_OF_RESULT = ("agent", "agent_version", "corpus", "verdict")
_BATCH_ROWS = 64


@dataclass(slots=True)
class Faults:
    """Collect what could not be read, one line each: one bad file never stops the rest."""

    lines: list[str] = field(default_factory=list)

    def add(self, line: str) -> None:
        self.lines.append(line)


def read_run_directory(run: RunDirectory, faults: Faults, *, latest: bool = False) -> Iterator[Conversation]:
    """Yield a run's sessions in the order of corpus, task, trial and attempt; `latest` keeps the last attempts."""
    results, broken = results_by_session(run)
    order = order_calls(run, results)
    for line in (*broken, *order.errors):
        faults.add(line)
    try:
        manifest: Mapping[str, Any] = read_manifest(run)
    except ValueError as error:
        faults.add(str(error))
        manifest = {}

    keys = {rid: key for rid in order.rids if (key := _session_of(run, rid))}
    # Two tests of a run may have tasks of the same name, whose calls come mixed.
    first = {key: at for at, key in reversed(list(enumerate(keys.values())))}
    rids = sorted(keys, key=lambda rid: first[keys[rid]])
    records = _read_captures(run, rids, manifest, results, faults)
    return _sessions(records, last_sessions(first) if latest else None)


def _session_of(run: RunDirectory, rid: str) -> SessionKey | None:
    """Name a call's session; None for one whose head cannot be read, which has been told with the order."""
    try:
        head = read_head(run.captures / f"{rid}.request.json")
    except (CaptureError, OSError):
        return None
    return CallRecord({**head, "run_id": run.id, "request_id": rid}, b"", None).session


def _read_captures(
    run: RunDirectory,
    rids: Iterable[str],
    manifest: Mapping[str, Any],
    results: Mapping[str, Mapping[str, Any]],
    faults: Faults,
) -> Iterator[CallRecord]:
    of_run = {name: manifest.get(name) for name in _OF_RUN}
    of_run |= {"run_id": run.id, "circumstances": circumstances_of(manifest, results.values())}
    for rid in rids:
        try:
            capture = Capture(rid, run.captures)
            result = results.get(str(capture.request.head.get("session")), {})
            known = of_run | {name: result[name] for name in _OF_RESULT if name in result}
            known["telemetry"] = call_telemetry(result, rid, capture.request.head.get("turn"))
            asked = partial(asked_model, capture.request)
            known["provider"] = provider_told(manifest, capture.request.head.get("upstream_url"), asked)
            record = record_of_capture(capture, known)
        except (CaptureError, OSError) as error:
            faults.add(str(error))
        else:
            if record.faulty:
                faults.add(record.faulty)
            yield record


def read_parquet(
    path: str | Path, faults: Faults, *, latest: bool = False, opened: Any = None
) -> Iterator[Conversation]:
    """Yield the sessions of a captures parquet, agentcap's own included; `opened` is a file to read instead of `path`.

    Sessions whose rows stand together, as this project writes them, are read one by one; else the file is read whole.
    Raises ValueError naming the file when it is no captures parquet.
    """
    file = open_captures(path, opened)
    keys = session_keys(file)
    wanted = last_sessions(keys) if latest else None
    together = len({key for key, _ in groupby(keys)}) == sum(1 for _ in groupby(keys))
    records = _records(file, str(path), faults)
    return _sessions(records if together else sorted(records, key=lambda r: (r.session, r.order)), wanted)


def session_keys(file: Any) -> list[SessionKey]:
    """Read which session each row of a captures parquet belongs to, from the narrow columns alone."""
    known = [name for name in _KEYS if name in file.schema_arrow.names]
    rows = file.read(columns=known).to_pylist() if known else [{}] * file.metadata.num_rows
    return [CallRecord(row, b"", None).session for row in rows]


def _records(file: Any, path: str, faults: Faults) -> Iterator[CallRecord]:
    number = 0
    circumstances = as_object(parse((file.metadata.metadata or {}).get(CIRCUMSTANCES_KEY.encode(), b"{}")))
    told = facts_of_footer(file)
    for batch in file.iter_batches(batch_size=_BATCH_ROWS):
        for row in batch.to_pylist():
            number += 1
            try:
                yield record_of_row({**told, **row, "circumstances": circumstances.get(str(row.get("run_id")))})
            except ValueError as error:
                faults.add(f"{path}: row {number}: {error}")


def facts_of_footer(file: Any) -> dict[str, str]:
    """Return what a captures parquet of agentcap tells of all its rows in the footer, and in no column."""
    footer: Mapping[bytes, bytes] = file.metadata.metadata or {}
    missing = {"agent"} - set(file.schema_arrow.names)
    return {name: footer[name.encode()].decode("utf-8", "replace") for name in missing if name.encode() in footer}


def last_sessions(keys: Iterable[SessionKey]) -> Callable[[SessionKey], bool]:
    """Return what tells whether a session is the highest attempt of its run, corpus, task and trial."""
    highest: dict[tuple[str, str, str, int], int] = {}
    for run_id, corpus, task, trial, attempt, _ in keys:
        place = (run_id, corpus, task, trial)
        highest[place] = max(attempt, highest.get(place, attempt))
    return lambda key: highest.get(key[:4]) == key[4]


def _sessions(records: Iterable[CallRecord], wanted: Callable[[SessionKey], bool] | None) -> Iterator[Conversation]:
    for key, group in groupby(records, key=lambda record: record.session):
        if wanted is None or wanted(key):
            yield read_conversation(group)
