"""`agentcap run`: agentcap's own command line, turned into the pytest command that does the same.

With a schema or a shell command it is agent-eval-harness's command of that name, see `raw`.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from pytest_agentcap.commands.base import Commands
from pytest_agentcap.commands.harness import add_model, add_session
from pytest_agentcap.commands.output import complain, write

# agentcap's name, and pytest's where that is another.
_PASSED_ON = {
    "model": "--model",
    "upstream": "--upstream",
    "turns": "--turns",
    "followup": "--followup",
    "timeout": "--turn-timeout",
    "sandbox": "--workspace",
    "skills": "--skills",
    "tool_dir": "--tool-dir",
    "label": "--label",
}


def add(commands: Commands) -> None:
    parser = commands.add_parser("run", help="run tasks by pytest, with agentcap's or agent-eval-harness's options")
    parser.add_argument("--agent", action="append", metavar="NAME", help="the agent; may be repeated")
    parser.add_argument("--tasks", metavar="FILE", help="a corpus: .txt, one prompt a line, or .jsonl")
    parser.add_argument("--api-key", metavar="K", help="its key (environment: AGENTCAP_API_KEY)")
    parser.add_argument("--turns", metavar="N", help="turns per task (default 1)")
    parser.add_argument("--followup", metavar="NAME", help="continue, templates or synthesized")
    parser.add_argument("-t", "--timeout", metavar="S", help="seconds a turn may take (with -s and the like: ms)")
    parser.add_argument("--sandbox", metavar="DIR", help="copied as the working directory: pytest's --workspace")
    parser.add_argument("--skills", metavar="DIR", help="a folder of skills")
    parser.add_argument("--tool-dir", metavar="DIR", help="a folder whose bin/ is on the agent's PATH")
    parser.add_argument("--label", metavar="TEXT", help="stored with every capture")
    add_model(parser)
    parser.add_argument("words", nargs="*", metavar="-- ...", help="further options of pytest, such as: -- -n 4")
    raw = parser.add_argument_group("as agent-eval-harness", "run [PROMPTS] with one of -s, --simple, --shell")
    raw.add_argument("-s", "--schema", metavar="FILE", help="the agent's adapter schema, JSON")
    raw.add_argument("--simple", metavar="COMMAND", help="a shell command, with {} for the prompt")
    raw.add_argument("--shell", metavar="COMMAND", help="a shell command that reads $PROMPT")
    raw.add_argument("--stdin", action="store_true", help="read the prompts from standard input (default)")
    raw.add_argument("-c", "--cwd", metavar="DIR", help="every session works in a copy of it (default: empty)")
    add_session(raw)
    parser.set_defaults(command=_run)


def _run(args: argparse.Namespace) -> int:
    if args.schema or args.simple or args.shell:
        return _run_raw(args)
    return _run_tasks(args)


def _run_tasks(args: argparse.Namespace) -> NoReturn:
    for name in ("stdin", "cwd", "concurrency", "grader", "output", "append", "progress", "debug"):
        if getattr(args, name):
            raise ValueError(f"run: --{name} is for prompts run with -s, --simple or --shell: name one")
    if not args.agent or not args.tasks:
        raise ValueError("run: name --agent and --tasks; or prompts, with one of -s, --simple and --shell")
    tasks = Path(args.tasks)
    if tasks.is_file() and tasks.suffix not in (".txt", ".jsonl"):
        raise ValueError(f"--tasks {args.tasks}: name it .txt (one prompt a line) or .jsonl, so that pytest reads it")
    words = list(pytest_arguments(args))
    environment = dict(os.environ)
    if args.api_key:
        # By the environment, where the process table does not show it.
        environment["AGENTCAP_API_KEY"] = args.api_key
    write(shlex.join(["pytest", *words]))
    sys.stdout.flush()
    if args.sandbox:
        complain(f"every task works in a copy of {args.sandbox}; the folder itself stays as it is")
    os.execve(sys.executable, [sys.executable, "-m", "pytest", *words], environment)


def _run_raw(args: argparse.Namespace) -> int:
    from pytest_agentcap.commands.raw import run_raw

    for name in ("agent", "tasks", "sandbox", "skills", "tool_dir", "turns", "followup", "label"):
        if getattr(args, name):
            raise ValueError(f"run: --{name.replace('_', '-')} is for --agent and --tasks only")
    args.prompts = next((word for word in args.words[:1] if not word.startswith("-")), None)
    args.rest = args.words[1:] if args.prompts else args.words
    return run_raw(args)


def pytest_arguments(args: argparse.Namespace) -> Iterator[str]:
    """Yield the words that pytest is given; the key is not among them."""
    yield from (args.tasks, "-p", "agentcap")
    for agent in args.agent:
        yield f"--agent={agent}"
    for name, option in _PASSED_ON.items():
        value = getattr(args, name)
        if value is not None:
            # By one word, so that a value may begin with a dash.
            yield f"{option}={value}"
    yield from args.words
