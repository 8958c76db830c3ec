"""Several runs of one agent and model as one captures parquet, its attempts counted over all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_agentcap.publish.parquet import ParquetReport, read_facts, read_rows, write_rows
from pytest_agentcap.publish.rows import Row, RunFacts
from pytest_agentcap.runs.completeness import Part, attempts_in_order
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.masking import Mask
from pytest_agentcap.runs.order import order_calls

_OF_ONE_RUN = ("shard", "skipped", "created_at", "tasks", "command", "continued", "invocation")


def merge_runs(parts: Sequence[Part], into: Path, *, latest: bool) -> ParquetReport:
    """Write the calls of runs as one file; memory stays at one row group. `latest` leaves out what was tried again.

    A run that began anew counts its attempts from 1, as the one before it did: here each test's sessions are numbered
    in the order they started, so that task, trial, attempt and call name one row. Raises OSError when the file cannot
    be written.
    """
    errors: list[str] = []
    attempts = attempts_in_order(parts)
    sources = [_renumbered(read_facts(part.run, errors, Mask()), attempts) for part in parts]
    results = {f"{facts.run.id}/{name}": result for facts in sources for name, result in facts.results.items()}
    kept = _last_of_each_test(results) if latest else results
    manifest = {key: value for key, value in sources[0].manifest.items() if key not in _OF_ONE_RUN}
    # The footer names the file where a run's own file names the run.
    whole = RunFacts(RunDirectory(into.with_suffix("")), manifest, kept, parts=tuple(sources))
    return write_rows(into, whole, _rows(sources, kept, errors), errors)


def _renumbered(facts: RunFacts, attempts: Mapping[tuple[str, str], int]) -> RunFacts:
    results = {
        name: {**result, "attempt": attempts[facts.run.id, result["session"]]} for name, result in facts.results.items()
    }
    return replace(facts, results=results)


def _last_of_each_test(results: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    last: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for name, result in results.items():
        if result["nodeid"] not in last or result["attempt"] > last[result["nodeid"]][1]["attempt"]:
            last[result["nodeid"]] = (name, result)
    return dict(last.values())


def _rows(sources: Sequence[RunFacts], kept: Mapping[str, Mapping[str, Any]], errors: list[str]) -> Iterator[Row]:
    for facts in sources:
        order = order_calls(facts.run, facts.results)
        errors += order.errors
        for row in read_rows(facts, order.rids, errors):
            result = kept.get(f"{facts.run.id}/{row.values['session']}")
            if result is not None:
                row.values["attempt"] = result["attempt"]
                yield row
