"""`agentcap compare`: runs of the same tasks, set side by side."""

from __future__ import annotations

import argparse
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_agentcap.commands.base import Commands
from pytest_agentcap.commands.evals import SOURCES, add_output, emit, note, tell_faults
from pytest_agentcap.commands.output import complain

if TYPE_CHECKING:
    from pytest_agentcap.analysis.statistics import Bootstrap

_MARKDOWN = (".md", ".markdown")
_ITERATIONS = "COMPARE_BOOTSTRAP_ITERATIONS"


def add(commands: Commands) -> None:
    parser = commands.add_parser("compare", help="compare runs of the same tasks")
    parser.add_argument("results", nargs="*", metavar="[LABEL:]RESULTS", help=SOURCES)
    parser.add_argument("--run", action="append", default=[], metavar="LABEL:PATH", help="a run and what to call it")
    parser.add_argument("-s", "--strategy", choices=("weighted", "statistical", "custom"), default="weighted")
    parser.add_argument("-g", "--grader", action="append", default=[], metavar="PATH", help="of --strategy custom")
    parser.add_argument("-f", "--format", choices=("json", "markdown"), help="default: json, markdown for -o FILE.md")
    parser.add_argument("--input-format", choices=("auto", "capture", "trials"), default="auto", help="default: auto")
    parser.add_argument("--all-tasks", action="store_true", help="figures of all of a run's tasks, not the common ones")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of --strategy statistical (default 0)")
    parser.add_argument("--progress", action="store_true", help="say on standard error what is compared")
    add_output(parser)
    parser.set_defaults(command=_run)


def _run(args: argparse.Namespace) -> int:
    from pytest_agentcap.analysis.compare_captures import compare_captures
    from pytest_agentcap.analysis.compare_markdown import comparison_markdown
    from pytest_agentcap.analysis.compare_trials import compare_trials
    from pytest_agentcap.analysis.comparison import set_up
    from pytest_agentcap.analysis.sources import read_results
    from pytest_agentcap.analysis.strategies import load_strategy
    from pytest_agentcap.conversation.sources import Faults

    named = [_label(value) for value in [*args.results, *args.run]]
    if len(named) < 2:
        raise ValueError("compare: name two results or more, such as: agentcap compare a.jsonl b.jsonl")
    if args.strategy != "custom" and args.grader:
        raise ValueError("--grader: is for --strategy custom")
    faults = Faults()
    kind = None if args.input_format == "auto" else args.input_format
    read = [(label, read_results(path, faults, kind=kind, unique=True)) for label, path in named]
    strategy = load_strategy(args.strategy, args.grader, trials=read[0][1].kind == "trials")
    setup = set_up(read, strategy, _bootstrap(args), args.all_tasks)
    if args.progress:
        note(f"Comparing {len(setup.runs)} runs on {len(setup.shared)} tasks")
    compare = compare_trials if setup.kind == "trials" else compare_captures
    report, problems = compare(setup, datetime.now(UTC))
    for line in (*(report.meta.warnings or ()), *problems):
        complain(line)
    emit(comparison_markdown(report) if _is_markdown(args) else _json(report), args.output)
    return max(tell_faults(faults), 1 if problems else 0)


def _label(value: str) -> tuple[str, str]:
    """Take `LABEL:PATH` apart; a file's own name may have a colon, and `hf://` is a scheme's."""
    label, _, path = value.partition(":")
    if label and path and not path.startswith("//") and not Path(value).exists():
        return label, path
    return Path(value).stem or value, value


def _is_markdown(args: argparse.Namespace) -> bool:
    if args.format:
        return bool(args.format == "markdown")
    return args.output is not None and args.output.suffix.lower() in _MARKDOWN


def _bootstrap(args: argparse.Namespace) -> Bootstrap | None:
    from pytest_agentcap.analysis.statistics import Bootstrap

    if args.strategy != "statistical":
        return None
    told = os.environ.get(_ITERATIONS, "1000")
    if not told.isdecimal() or int(told) < 100:
        raise ValueError(f"{_ITERATIONS}={told}: give a whole number, 100 or more")
    return Bootstrap(args.seed, int(told))


def _json(report: object) -> str:
    from msgspec import to_builtins

    return json.dumps(to_builtins(report), indent=2, ensure_ascii=False)
