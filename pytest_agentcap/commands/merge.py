"""`agentcap merge`: whether the shards of a corpus are complete, and all of them as one file."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_agentcap.commands.base import Commands
from pytest_agentcap.commands.output import complain, write, write_json, write_table
from pytest_agentcap.runs.completeness import Census, Part, take_census
from pytest_agentcap.runs.layout import RunDirectory, find_runs, workspace_folder
from pytest_agentcap.runs.listing import TargetError, find_run
from pytest_agentcap.runs.masking import environment_secrets

_SHOWN = 10


def add(commands: Commands) -> None:
    parser = commands.add_parser("merge", help="check that shards are complete, and make one parquet of them")
    parser.add_argument("runs", nargs="*", metavar="RUN", help="a run id, a run directory, or a workspace")
    parser.add_argument("--all", action="store_true", help="every run of the workspace")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write all calls into this parquet file")
    parser.add_argument("--all-attempts", action="store_true", help="keep sessions that were tried again later too")
    parser.add_argument("--json", action="store_true", help="print a JSON list, with the node ids")
    parser.set_defaults(command=_run)


def _run(args: argparse.Namespace) -> int:
    if args.all == bool(args.runs):
        raise TargetError("merge: name the runs, or pass --all")
    if args.all_attempts and not args.output:
        raise TargetError("merge: --all-attempts goes with -o")
    parts = [part for run in _find(args) if (part := _read(run)) is not None]
    if not parts:
        raise TargetError("merge: no run is left to look at")
    censuses = take_census(parts)
    if args.output and len(censuses) != 1:
        raise TargetError("merge: -o is for one agent and model over one set of tests: name its runs")
    for line in (line for part in parts for line in part.errors):
        complain(line)
    if args.json:
        write_json([_document(census) for census in censuses])
    else:
        _tell(censuses)
    complete = all(census.complete for census in censuses) and not any(part.errors for part in parts)
    return max(0 if complete else 1, _compact(parts, args) if args.output else 0)


def _find(args: argparse.Namespace) -> list[RunDirectory]:
    folder = workspace_folder()
    found = list(find_runs(folder)) if args.all else [run for name in args.runs for run in _named(folder, name)]
    if not found:
        raise TargetError(f"no runs in {folder}")
    return list(dict.fromkeys(found))


def _named(folder: Path, target: str) -> list[RunDirectory]:
    run = find_run(folder, target)
    if run is not None:
        return [run]
    runs = [RunDirectory(each.path.resolve()) for each in find_runs(workspace_folder(target))]
    if not runs:
        raise TargetError(f"{target} is neither a run in {folder}, nor a run directory or a workspace with runs")
    return runs


def _read(run: RunDirectory) -> Part | None:
    """Read a run, brought to an end if its session could not do that; pass over one that tells of no tests."""
    from pytest_agentcap.runs.recovery import recover

    recover(run, environment_secrets())
    try:
        return Part.read(run)
    except ValueError as error:
        complain(str(error))
        return None


def _tell(censuses: Sequence[Census]) -> None:
    header = ["AGENT", "MODEL", "RUNS", "EXPECTED", "DONE", "FAILED", "INFRA", "MISSING"]
    rows: list[list[Any]] = []
    for census in censuses:
        counts = [len(each) for each in (census.done, census.failed, census.infra)]
        missing = len(census.missing) + census.unlisted
        expected = census.selected - census.skipped
        rows.append([census.cell["agent"], census.cell["model"], len(census.parts), expected, *counts, missing])
    write_table(header, rows)
    for census in censuses:
        for line in _to_do(census):
            complain(line)


def _to_do(census: Census) -> list[str]:
    """Say what is to be run again, shards first."""
    lines = []
    if absent := census.absent_shards():
        lines.append(f"no run is of shard {', '.join(absent)}: run --shard {absent[0]}")
    elif census.unlisted:
        lines.append(f"{census.unlisted} tests are in no run's list: a shard is not here")
    open_ = (*census.infra, *census.missing)
    if shards := census.shards_of(open_):
        lines.append(f"run again: shard {', '.join(shards)}")
    lines += [f"missing: {nodeid}" for nodeid in census.missing[:_SHOWN]]
    lines += [f"infra: {nodeid}" for nodeid in census.infra[:_SHOWN]]
    if max(len(census.missing), len(census.infra)) > _SHOWN:
        lines.append("… and more: --json lists all")
    return lines


def _document(census: Census) -> dict[str, Any]:
    return {
        **census.cell,
        "complete": census.complete,
        "runs": [part.run.id for part in census.parts],
        "expected": census.selected - census.skipped,
        "absent_shards": census.absent_shards(),
        "unlisted": census.unlisted,
        **{name: list(getattr(census, name)) for name in ("done", "failed", "infra", "missing")},
    }


def _compact(parts: Sequence[Part], args: argparse.Namespace) -> int:
    from pytest_agentcap.publish.merge import merge_runs

    report = merge_runs(parts, args.output, latest=not args.all_attempts)
    for line in report.errors:
        complain(line)
    write(f"{report.path}: {report.rows} rows, {report.bytes} bytes, {len(report.errors)} errors")
    return 1 if report.errors else 0
