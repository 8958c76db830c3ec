"""`agentcap ls`: the runs of a workspace."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from pytest_agentcap.commands.base import Commands
from pytest_agentcap.commands.output import complain, write_json, write_table
from pytest_agentcap.runs.layout import workspace_folder
from pytest_agentcap.runs.listing import summarize_runs


def add(commands: Commands) -> None:
    parser = commands.add_parser("ls", help="list the runs of a workspace")
    parser.add_argument("workspace", nargs="?", help="default: $AGENTCAP_WORKSPACE, else the current directory")
    parser.add_argument("-l", "--long", action="store_true", help="show provider, upstream and label too")
    parser.add_argument("--json", action="store_true", help="print a JSON list")
    parser.set_defaults(command=_run)


def _run(args: argparse.Namespace) -> int:
    folder = workspace_folder(args.workspace)
    runs = list(summarize_runs(folder))
    for fault in (run.fault for run in runs if run.fault):
        complain(fault)
    if args.json:
        write_json([{**asdict(run), "path": str(run.path)} for run in runs])
    elif not folder.is_dir():
        complain(f"no workspace at {folder}: pass a folder that holds {folder.name}/, or set AGENTCAP_WORKSPACE")
    elif not runs:
        complain(f"no runs in {folder}")
    else:
        header = ["RUN_ID", "AGENT", "MODEL", "TASKS", "CAPTURES"]
        rows = []
        for run in runs:
            tasks = f"{run.tasks_ok}/{run.tasks}" + ("" if run.finished else "*")
            row = [run.run_id, run.agent, run.model and run.model.rpartition("/")[2], tasks, run.captures]
            rows.append([*row[:3], run.provider, *row[3:], run.upstream] if args.long else row)
        header = [*header[:3], "PROVIDER", *header[3:], "UPSTREAM"] if args.long else header
        if args.long and any(run.label for run in runs):
            header, rows = [*header, "LABEL"], [[*row, run.label] for row, run in zip(rows, runs, strict=True)]
        write_table(header, rows)
        if not all(run.finished for run in runs):
            complain("* unfinished: still running, or ended before its session did")
        for run in runs:
            if run.command:
                complain(f"{run.run_id}: {run.to_resume} sessions to run again or for the first time: {run.command}")
    return 0
