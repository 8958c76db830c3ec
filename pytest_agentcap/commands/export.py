"""`agentcap export`: what the end of a session does, again or for the first time."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_agentcap.commands.base import Commands
from pytest_agentcap.commands.output import complain, write
from pytest_agentcap.runs.layout import RunDirectory, find_runs, workspace_folder
from pytest_agentcap.runs.listing import TargetError, find_run
from pytest_agentcap.runs.masking import environment_secrets


def add(commands: Commands) -> None:
    parser = commands.add_parser("export", help="finish what a crash left and write captures.parquet")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="a run id or a run directory")
    parser.add_argument("--all", action="store_true", help="every run of the workspace that has captures")
    parser.set_defaults(command=_run)


def _run(args: argparse.Namespace) -> int:
    if args.all == bool(args.targets):
        raise TargetError("export: name the runs, or pass --all")
    folder = workspace_folder()
    if args.all:
        runs = [run for run in find_runs(folder) if any(run.captures.iterdir())]
        if not runs:
            raise TargetError(f"no runs with captures in {folder}")
    else:
        runs = [_find_run(folder, target) for target in args.targets]
    return max([_export_run(run) for run in runs])


def _export_run(run: RunDirectory) -> int:
    """Write one run's parquet and say so; return 1 when it cannot be written."""
    import pyarrow

    from pytest_agentcap.publish.parquet import write_parquet
    from pytest_agentcap.runs.recovery import recover

    status = 0
    try:
        recover(run, environment_secrets())
    except (ValueError, LookupError, OSError) as error:
        # What the other sessions captured is still worth its parquet.
        complain(f"{run.path}: what its session left open cannot be finished: {error!r}")
        status = 1
    try:
        report = write_parquet(run)
    except (ValueError, OSError, pyarrow.ArrowException) as error:
        complain(f"{run.path}: not exported: {error}")
        return 1
    for line in report.errors:
        complain(line)
    write(f"{report.path}: {report.rows} rows, {report.bytes} bytes, {len(report.errors)} errors")
    return status


def _find_run(folder: Path, target: str) -> RunDirectory:
    run = find_run(folder, target)
    if run is None:
        raise TargetError(f"{target} is neither a run in {folder} nor a run directory")
    return run
