"""`agentcap report`: what runs come to, as a folder of Markdown and JSON."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_agentcap.commands.base import Commands
from pytest_agentcap.commands.evals import tell_faults
from pytest_agentcap.commands.output import complain, write
from pytest_agentcap.runs.layout import find_runs, workspace_folder
from pytest_agentcap.runs.listing import TargetError, find_run


def add(commands: Commands) -> None:
    parser = commands.add_parser("report", help="write REPORT.md, figures, transcripts and artifacts of runs")
    parser.add_argument("runs", nargs="*", metavar="RUN", help="run ids or run directories")
    parser.add_argument("--all", action="store_true", help="every run of the workspace")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="the folder to write")
    parser.set_defaults(command=_run)


def _run(args: argparse.Namespace) -> int:
    from pytest_agentcap.conversation.sources import Faults
    from pytest_agentcap.report.folder import write_report
    from pytest_agentcap.report.outcomes import read_run

    if args.all == bool(args.runs):
        raise TargetError("report: name the runs, or pass --all")
    folder = workspace_folder()
    directories = list(find_runs(folder)) if args.all else [find_run(folder, name) for name in args.runs]
    for name, directory in zip(args.runs, directories, strict=False):
        if directory is None:
            raise TargetError(f"{name}: no run in {folder}, and no run directory")
    found = {directory.path: directory for directory in directories if directory is not None}
    if not found:
        raise TargetError(f"no runs in {folder}")
    faults, runs = Faults(), []
    for directory in found.values():
        run, broken = read_run(directory)
        runs.append(run)
        # The captures are read once more for the transcripts, which tells of broken result files again.
        faults.lines.extend(line for line in broken if line not in faults.lines)
    path = write_report(runs, args.output, faults)
    faults.lines[:] = dict.fromkeys(faults.lines)
    write(f"{path}: {len(runs)} runs, {sum(len(run.outcomes) for run in runs)} sessions")
    for run in runs:
        if not run.outcomes:
            complain(f"{run.directory.id} has no results: `agentcap analyze {run.directory.id}` reads its calls alone")
    return tell_faults(faults)
