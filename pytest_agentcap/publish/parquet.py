"""A run's captures as one parquet file, written row group by row group."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pytest_agentcap import __version__
from pytest_agentcap.publish.rowgroup import RowGroup
from pytest_agentcap.publish.rows import Row, RunFacts, first_prompt, one_line, strip_revision
from pytest_agentcap.publish.schema import DICTIONARY_COLUMNS, SCHEMA, STATISTICS_COLUMNS
from pytest_agentcap.publish.summary import SUMMARY_KEY, Summary
from pytest_agentcap.runs.captures import CaptureError
from pytest_agentcap.runs.circumstances import CIRCUMSTANCES_KEY
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.manifest import read_manifest
from pytest_agentcap.runs.masking import Mask
from pytest_agentcap.runs.order import order_calls, results_by_session

ROW_GROUP_BYTES = 32 << 20
_ZSTD_LEVEL = 3


@dataclass(frozen=True, slots=True)
class ParquetReport:
    """Tell what was written, one line for each file of the run that could not be read, and what else is to be known."""

    path: Path
    rows: int
    errors: tuple[str, ...]
    bytes: int
    notes: tuple[str, ...] = ()


def write_parquet(
    run: RunDirectory,
    into: Path | None = None,
    *,
    latest: bool = False,
    redact: Mask | None = None,
    scan: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ParquetReport:
    """Write a run's `captures.parquet`, or `into`, replacing the last one; it is there as a whole or not at all.

    A call whose request cannot be read has no row, one whose response cannot be read has `{}` in its place; both are
    among the report's errors. `latest` leaves out sessions that were tried again later; `redact` is applied to every
    text; `scan` is what the footer tells of a secret scan. `progress` is told the calls done and their number. Memory
    stays at one row group. Raises OSError when the file cannot be written.
    """
    into = into or run.parquet
    errors: list[str] = []
    facts = read_facts(run, errors, redact or Mask())
    order = order_calls(run, facts.results, latest=latest)
    errors += order.errors
    return write_rows(into, facts, read_rows(facts, order.rids, errors, progress), errors, scan)


def write_rows(
    into: Path, facts: RunFacts, rows: Iterator[Row], errors: list[str], scan: Mapping[str, Any] | None = None
) -> ParquetReport:
    """Write rows as a captures parquet whose footer says what `facts` tell; `errors` grows while rows are read.

    Raises OSError when the file cannot be written.
    """
    tasks, summary = _Tasks(_recorded_prompts(facts)), Summary(facts, scan)
    with open_writer(into) as writer:
        count = write_groups(writer, _watched(rows, (tasks.add, summary.add)))
        write_footer(writer, _footer(facts, tasks), summary.facts())
    return ParquetReport(into, count, tuple(errors), into.stat().st_size)


def read_facts(run: RunDirectory, errors: list[str], redact: Mask) -> RunFacts:
    """Read what a run's rows share; what of it cannot be read is added to `errors`."""
    results, broken = results_by_session(run)
    errors += broken
    try:
        manifest = read_manifest(run)
    except ValueError as error:
        errors.append(str(error))
        manifest = {}
    return RunFacts(run, manifest, results, redact)


def read_rows(
    facts: RunFacts, rids: tuple[str, ...], errors: list[str], progress: Callable[[int, int], None] | None = None
) -> Iterator[Row]:
    """Yield the rows of calls; those that cannot be read are added to `errors`."""
    for done, rid in enumerate(rids, 1):
        try:
            row = facts.read_row(rid)
        except (CaptureError, OSError) as error:
            errors.append(str(error))
        else:
            if row.error:
                errors.append(row.error)
            yield row
        if progress:
            progress(done, len(rids))


@contextmanager
def open_writer(into: Path) -> Iterator[pq.ParquetWriter]:
    """Open a captures parquet to write, columns encoded for what they hold; it is there as a whole or not at all.

    Raises OSError when the file cannot be written.
    """
    handle, name = tempfile.mkstemp(dir=into.parent, prefix=".captures.", suffix=".parquet")
    os.close(handle)
    temporary = Path(name)
    try:
        with pq.ParquetWriter(
            temporary,
            SCHEMA,
            compression="zstd",
            compression_level=_ZSTD_LEVEL,
            use_dictionary=DICTIONARY_COLUMNS,
            write_statistics=STATISTICS_COLUMNS,
            write_page_index=True,
        ) as writer:
            yield writer
        temporary.replace(into)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_groups(writer: pq.ParquetWriter, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows, by column with bodies as bytes, in row groups of 32 MB of bodies; return how many there were."""
    count = 0
    group = RowGroup()
    for values in rows:
        group.add(values)
        count += 1
        if group.body_bytes >= ROW_GROUP_BYTES:
            writer.write_batch(group.take())
    if group.rows:
        writer.write_batch(group.take())
    return count


def _watched(
    rows: Iterable[Row], watchers: Sequence[Callable[[Mapping[str, Any]], None]]
) -> Iterator[Mapping[str, Any]]:
    for row in rows:
        for watch in watchers:
            watch(row.values)
        yield row.values


@dataclass(slots=True)
class _Tasks:
    """Collect the tasks of the rows as they pass: what a file's footer tells without a look at its rows."""

    prompts_by_id: Mapping[str, str]
    _turns: dict[tuple[str | None, str], int] = field(default_factory=dict)
    _prompts: dict[tuple[str | None, str], str | None] = field(default_factory=dict)

    def add(self, row: Mapping[str, Any]) -> None:
        if row["task_id"] is None:
            return
        task = (row["corpus"], row["task_id"])
        self._turns[task] = max(self._turns.get(task, 0), row["turn"] or 0)
        if task not in self._prompts:
            self._prompts[task] = self.prompts_by_id.get(row["task_id"]) or first_prompt(row["request"])

    def listed(self) -> list[dict[str, Any]]:
        return [{"id": key[1], "turns": turns, "prompt": self._prompts[key]} for key, turns in self._turns.items()]


def _recorded_prompts(facts: RunFacts) -> dict[str, str]:
    listed = facts.manifest.get("tasks")
    records = [*(listed if isinstance(listed, list) else []), *facts.results.values()]
    found = [(r.get("task_id"), r.get("prompt")) for r in records if isinstance(r, dict)]
    return {
        task: one_line(facts.redacted(prompt))
        for task, prompt in found
        if isinstance(task, str) and isinstance(prompt, str)
    }


def write_footer(writer: pq.ParquetWriter, told: Mapping[str, str], summary: Mapping[str, Any]) -> None:
    """Write what a file tells of itself, in one order: the same rows are the same file, however it was made."""
    footer = {**told, SUMMARY_KEY: json.dumps(summary, sort_keys=True)}
    writer.add_key_value_metadata(dict(sorted(footer.items())))


def _footer(facts: RunFacts, tasks: _Tasks) -> dict[str, str]:
    agent, model = facts.manifest.get("agent"), facts.manifest.get("model")
    return {
        **({"agent": agent} if isinstance(agent, str) else {}),
        **({"model": strip_revision(model)} if isinstance(model, str) else {}),
        "tasks": json.dumps(tasks.listed()),
        "agentcap_version": __version__,
        "run_id": facts.run.id,
        CIRCUMSTANCES_KEY: facts.redacted(json.dumps(facts.circumstances)),
    }
