"""Traces from wherever they lie: runs, captures parquets, AgentTrace's JSONL and parquet, datasets on the Hub."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from pytest_agentcap.conversation.files import HUB, CapturesFile, find_files
from pytest_agentcap.conversation.session import Conversation
from pytest_agentcap.conversation.sources import Faults, read_parquet, read_run_directory
from pytest_agentcap.formats.agenttrace import row
from pytest_agentcap.runs.layout import RunDirectory, find_runs, workspace_folder
from pytest_agentcap.runs.listing import find_run
from pytest_agentcap.tracestats.model import Trace
from pytest_agentcap.tracestats.rows import read_row, row_of_parquet

_BATCH_ROWS = 64
_READ_BYTES = 1 << 20
_NESTED = frozenset({"spans_json", "llm_steps_json"})


def read_traces(targets: Iterable[str | RunDirectory], faults: Faults) -> Iterator[Trace]:
    """Yield the traces of run ids, run directories, files, folders and `hf://datasets/OWNER/NAME[@REVISION][/PATH]`.

    Of a session of ours the highest attempt counts, and that once, however many of the targets tell of it. What cannot
    be read of a file is told in `faults`. Raises ValueError for a target that is nothing of these, and OSError when it
    cannot be read.
    """
    seen: set[tuple[str, ...]] = set()
    for trace in _all_traces(targets, faults):
        # agentcap's own files name no run, and their tasks alike; rids are one session's alone.
        key = (trace.trace_id, *(step.step_id for step in trace.steps))
        if trace.high_water or key not in seen:
            seen.add(key)
            yield trace


def _all_traces(targets: Iterable[str | RunDirectory], faults: Faults) -> Iterator[Trace]:
    for target in targets:
        runs = [target] if isinstance(target, RunDirectory) else _runs(target)
        for run in runs:
            yield from _of_conversations(run.id, read_run_directory(run, faults, latest=True))
        for file in [] if runs else _files(str(target)):
            try:
                yield from _read_jsonl(file, faults) if file.name.endswith(".jsonl") else _read_parquet(file, faults)
            except file.raises as error:
                raise OSError(f"{file.name}: {error}") from error


def _runs(target: str) -> list[RunDirectory]:
    """Return the run that a target names, or those of a folder that holds some."""
    if target.startswith(HUB) or Path(target).is_file():
        return []
    run = find_run(workspace_folder(), target)
    return [run] if run else [*find_runs(Path(target))]


def _files(target: str) -> list[CapturesFile]:
    """Find parquet files, and where there are none JSONL files: a folder may have the same rows as both."""
    if target.endswith(".jsonl"):
        return find_files(target, ".jsonl")
    try:
        return find_files(target)
    except ValueError as error:
        try:
            return find_files(target, ".jsonl")
        except ValueError:
            raise error from None


def _of_conversations(place: str, conversations: Iterable[Conversation]) -> Iterator[Trace]:
    return (read_row(row(conversation), place) for conversation in conversations)


def _read_jsonl(file: CapturesFile, faults: Faults) -> Iterator[Trace]:
    opened: Any = file.open()
    # A file on the Hub reads no further than it is asked to: line by line that would be a request each.
    with io.BufferedReader(opened, _READ_BYTES) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
                if not isinstance(value, dict):
                    raise ValueError("no JSON object")
                trace = read_row(value, file.name)
            except (ValueError, RecursionError) as error:
                faults.add(f"{file.name}: line {number}: {error}")
            else:
                yield trace


def _read_parquet(file: CapturesFile, faults: Faults) -> Iterator[Trace]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with closing(file.open()) as opened:
        try:
            table = pq.ParquetFile(opened)
        except pa.ArrowException as error:
            raise ValueError(f"{file.name}: not a parquet file: {error}") from error
        if _NESTED.issubset(table.schema_arrow.names):
            yield from _rows(table, file.name, faults)
            return
        if "request_id" not in table.schema_arrow.names:
            raise ValueError(f"{file.name}: neither AgentTrace's parquet (spans_json) nor captures (request_id)")
        opened.seek(0)
        yield from _of_conversations(file.name, read_parquet(file.name, faults, latest=True, opened=opened))


def _rows(table: Any, place: str, faults: Faults) -> Iterator[Trace]:
    number = 0
    for batch in table.iter_batches(batch_size=_BATCH_ROWS):
        for each in batch.to_pylist():
            number += 1
            try:
                yield read_row(row_of_parquet(each), place)
            except ValueError as error:
                faults.add(f"{place}: row {number}: {error}")
