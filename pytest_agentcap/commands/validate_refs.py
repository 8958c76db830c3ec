"""`agentcap validate-refs`: a reference that fails its own grader fails the corpus."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_agentcap.commands.base import Commands
from pytest_agentcap.commands.evals import add_output, emit, note, open_graders, row_line
from pytest_agentcap.commands.output import complain

if TYPE_CHECKING:
    from pytest_agentcap.formats.eval_rows import PromptCase
    from pytest_agentcap.formats.report_rows import ValidationResult


def add(commands: Commands) -> None:
    parser = commands.add_parser("validate-refs", help="grade the references of a corpus; exit 1 when one fails")
    parser.add_argument("prompts", metavar="PROMPTS", help="a JSONL corpus, or a folder of tasks with their own tests")
    parser.add_argument("-g", "--grader", action="append", default=[], metavar="PATH", help="may be repeated")
    parser.add_argument("--run", action="store_true", help="act references out by the scripted model, and grade that")
    parser.add_argument("--sandbox", choices=("podman", "host"), default="podman", help="of --run (default podman)")
    parser.add_argument("--network", choices=("model", "open"), default="model", help="of tasks (default model)")
    add_output(parser)
    parser.set_defaults(command=_run)


def _run(args: argparse.Namespace) -> int:
    from pytest_agentcap.analysis.prompts import read_prompts
    from pytest_agentcap.analysis.references import with_reference

    if files := _task_files(Path(args.prompts)):
        return _judge(_with_solution_and_without(files, args), args)
    if Path(args.prompts).is_dir():
        raise ValueError(
            f"{args.prompts}: no task below it has a file of its own (tasks/<set>/<repository>/task_*.yaml, or "
            "Harbor's <task>/task.toml); name a JSONL corpus"
        )
    if not args.grader and not args.run:
        raise ValueError("validate-refs: name a grader with -g, or pass --run to use those of the corpus")
    prompts = with_reference(read_prompts(args.prompts, complain))
    if not prompts:
        note("No prompts with reference solutions found")
        return 0
    note(f"Validating {len(prompts)} reference solutions...")
    return _judge(_acted_out(prompts, args) if args.run else _as_answers(prompts, args.grader), args)


def _judge(results: Sequence[ValidationResult], args: argparse.Namespace) -> int:
    for result in results:
        note(f"  {'✓' if result.passes else '✗'} {result.id}")
    _tell(results)
    emit("\n".join(row_line(result) for result in results), args.output)
    return 0 if all(result.passes for result in results) else 1


def _task_files(path: Path) -> list[Path]:
    """Return the files of tasks on repositories and of Harbor's in a folder, or the one that is named."""
    from pytest_agentcap.corpus.reader import is_single_task

    return sorted(each for each in ([path] if path.is_file() else path.rglob("*")) if is_single_task(each))


def _with_solution_and_without(files: Sequence[Path], args: argparse.Namespace) -> list[ValidationResult]:
    """Run each task twice: acted out by the oracle, which knows its solution, and by nop, which does nothing."""
    from pytest_agentcap.analysis.references import validate_task
    from pytest_agentcap.corpus.reader import read_corpus
    from pytest_agentcap.upstream.scripted import NOP

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        tasks = [task for path in files for task in read_corpus(path, root=Path.cwd())]
    for warning in told:
        complain(str(warning.message))
    note(f"Validating {len(tasks)} tasks...")
    with tempfile.TemporaryDirectory(prefix="agentcap-refs-") as folder:
        oracle, nop = (_results_of_pytest(args, Path(folder, name), f"--model={name}") for name in ("oracle", NOP))
    return [validate_task(task, oracle.get(task.id), nop.get(task.id)) for task in tasks]


def _as_answers(prompts: Sequence[PromptCase], graders: Sequence[str]) -> list[ValidationResult]:
    from pytest_agentcap.analysis.references import validate_answer

    grading = open_graders(graders)
    return [validate_answer(prompt, grading) for prompt in prompts]


def _acted_out(prompts: Sequence[PromptCase], args: argparse.Namespace) -> list[ValidationResult]:
    from pytest_agentcap.analysis.references import validate_run

    with tempfile.TemporaryDirectory(prefix="agentcap-refs-") as folder:
        results = _results_of_pytest(args, Path(folder))
    return [validate_run(prompt, results.get(prompt.id)) for prompt in prompts]


def _results_of_pytest(args: argparse.Namespace, folder: Path, *more: str) -> dict[str, Any]:
    """Run the corpus by pytest with the built-in agent, and return its sessions by task.

    Raises ValueError when pytest could not run it.
    """
    from pytest_agentcap.runs.layout import find_runs, workspace_folder
    from pytest_agentcap.runs.order import results_by_session

    words = [args.prompts, "-p", "agentcap", "--agent=loop", "--upstream=scripted", f"--sandbox={args.sandbox}", "-q"]
    if args.network != "model":
        words.append(f"--network={args.network}")
    graders = [f"--grader={grader}" for grader in args.grader]
    environment = {**os.environ, "AGENTCAP_WORKSPACE": str(folder)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, *graders, *more], env=environment, stdout=subprocess.PIPE, text=True
    )
    # 0 and 1 are what sessions came to.
    if done.returncode not in (0, 1):
        raise ValueError(f"pytest could not run {args.prompts}: {done.stdout.strip().splitlines()[-1:]}")
    runs = [results_by_session(run)[0] for run in find_runs(workspace_folder(folder))]
    return {str(result["task_id"]): result for results in runs for result in results.values()}


def _tell(results: Sequence[ValidationResult]) -> None:
    failed = [result for result in results if not result.passes]
    note(f"\nResults: {len(results) - len(failed)} passed, {len(failed)} failed")
    if failed:
        note("\nFailing references:")
    for result in failed:
        note(f"  - {result.id}: {result.reasoning or result.reason or 'no reason was given'}")
