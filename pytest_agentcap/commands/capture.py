"""`agentcap capture` and `agentcap trials`: prompts run by an adapter schema, one row a prompt."""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_agentcap.commands.base import Commands
from pytest_agentcap.commands.evals import open_graders, row_line
from pytest_agentcap.commands.harness import (
    Session,
    add_harness,
    positive,
    read_corpus,
    run_sessions,
    schema_file,
    tell_progress,
)
from pytest_agentcap.commands.output import complain
from pytest_agentcap.commands.rows import open_rows

if TYPE_CHECKING:
    from pytest_agentcap.formats.eval_rows import CaptureResult

_TRIALS = 5
_UNSAFE = re.compile(r'[<>:"/\\|?*]')


def add(commands: Commands) -> None:
    once = commands.add_parser("capture", help="run prompts by an adapter schema; CaptureResult rows")
    add_harness(once)
    once.set_defaults(command=_run, k=None)
    several = commands.add_parser("trials", help="the same, several times each; TrialResult rows")
    add_harness(several)
    several.add_argument("-k", type=positive, default=_TRIALS, metavar="K", help=f"trials of each ({_TRIALS})")
    several.set_defaults(command=_run)


def _run(args: argparse.Namespace) -> int:
    prompts = read_corpus(args)
    # Told before anything is run: those that cannot be used.
    open_graders(args.grader)
    schema = schema_file(args.schema)
    expected = len(prompts) * (args.k or 1)
    done = 0
    with open_rows(args.output, args.append) as rows:
        waiting: dict[str, list[CaptureResult]] = {}
        for session in run_sessions(prompts, schema, [f"--trials={args.k}"] if args.k else [], args):
            done += 1
            tell_progress(args, done, expected, session)
            trials = waiting.setdefault(session.prompt.id, [])
            trials.append(_row(session, args))
            if len(trials) == (args.k or 1):
                rows.write(_line(waiting.pop(session.prompt.id), args))
        for trials in waiting.values():
            rows.write(_line(trials, args))
    if done < expected:
        complain(f"{expected - done} of {expected} sessions did not take place")
    return 0 if done == expected else 1


def _row(session: Session, args: argparse.Namespace) -> CaptureResult:
    """Return a session's row, with its prompt's id and input as the corpus spells them."""
    from msgspec.structs import replace

    from pytest_agentcap.analysis.sources import session_row

    row = session_row(session.run, session.result)
    metadata = dict(row.metadata)
    if args.workspace_dir:
        kept = _keep_workspace(session, args)
        metadata["workspaceDir"] = str((args.workspace_dir if args.k else kept).absolute())
    return replace(row, id=session.prompt.id, input=session.prompt.input, metadata=metadata)


def _keep_workspace(session: Session, args: argparse.Namespace) -> Path:
    """Copy what a session left to where agent-eval-harness has it."""
    name = f"prompt-{_UNSAFE.sub('_', session.prompt.id)}"
    place: Path = args.workspace_dir / (f"{name}-trial-{session.result['trial']}" if args.k else name)
    place.mkdir(parents=True, exist_ok=True)
    if session.workspace:
        shutil.copytree(session.workspace, place, symlinks=True, dirs_exist_ok=True)
    return place


def _line(rows: Sequence[CaptureResult], args: argparse.Namespace) -> str:
    from pytest_agentcap.analysis.trials import trial_row
    from pytest_agentcap.formats.plain_rows import plain_capture, plain_trials

    if args.k is None:
        return row_line(rows[0] if args.full else plain_capture(rows[0]))
    row = trial_row(sorted(rows, key=lambda each: each.origin.trial if each.origin else 1))
    return row_line(row if args.full else plain_trials(row))
