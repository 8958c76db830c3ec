"""`agentcap run`: agentcap's own command line, turned into the pytest command that does the same."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from pytest_agentcap.commands.base import Commands
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
    parser = commands.add_parser("run", help="run a file of tasks by pytest, with agentcap's options")
    parser.add_argument("--agent", required=True, action="append", metavar="NAME", help="the agent; may be repeated")
    parser.add_argument("--tasks", required=True, metavar="FILE", help="a corpus: .txt, one prompt a line, or .jsonl")
    parser.add_argument("--model", metavar="ID", help="the model (default: the scripted one)")
    parser.add_argument("--upstream", metavar="URL", help="the model server")
    parser.add_argument("--api-key", metavar="K", help="its key (environment: AGENTCAP_API_KEY)")
    parser.add_argument("--turns", metavar="N", help="turns per task (default 1)")
    parser.add_argument("--followup", metavar="NAME", help="continue, templates or synthesized")
    parser.add_argument("--timeout", metavar="S", help="seconds a turn may take: pytest's --turn-timeout")
    parser.add_argument("--sandbox", metavar="DIR", help="copied as the working directory: pytest's --workspace")
    parser.add_argument("--skills", metavar="DIR", help="a folder of skills")
    parser.add_argument("--tool-dir", metavar="DIR", help="a folder whose bin/ is on the agent's PATH")
    parser.add_argument("--label", metavar="TEXT", help="stored with every capture")
    parser.add_argument("rest", nargs="*", metavar="-- ...", help="further options of pytest, such as: -- -n 4")
    parser.set_defaults(command=_run)


def _run(args: argparse.Namespace) -> int:
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
    yield from args.rest
