"""agent-eval-harness's way of running prompts: its arguments, turned into a pytest session whose results are rows."""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_agentcap.commands.evals import add_output, note
from pytest_agentcap.commands.output import complain
from pytest_agentcap.commands.signals import exit_on

if TYPE_CHECKING:
    from pytest_agentcap.agents.headless_schema import HeadlessSchema
    from pytest_agentcap.formats.eval_rows import PromptCase
    from pytest_agentcap.runs.layout import RunDirectory

_TOLD_LINES = 5


@dataclass(frozen=True, slots=True)
class Session:
    """Hold a session that has ended: its prompt as the file tells it, its run, and its result file's content.

    `workspace` is a copy of what it left, while pytest keeps it.
    """

    prompt: PromptCase
    run: RunDirectory
    result: Mapping[str, Any]
    workspace: Path | None


def add_harness(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that capture and trials have beside those of `run`."""
    parser.add_argument("prompts", nargs="?", metavar="PROMPTS", help="a JSONL corpus")
    parser.add_argument("--stdin", action="store_true", help="read the corpus from standard input")
    parser.add_argument("-s", "--schema", required=True, metavar="FILE", help="the agent's adapter schema, JSON")
    parser.add_argument("-c", "--cwd", metavar="DIR", help="every session works in a copy of it (default: empty)")
    parser.add_argument("--workspace-dir", type=Path, metavar="DIR", help="keep what sessions leave in folders there")
    parser.add_argument("-t", "--timeout", type=milliseconds, metavar="MS", help="what a turn may take")
    parser.add_argument("--full", action="store_true", help="rows with verdicts, estimates and where they come from")
    add_model(parser)
    add_session(parser)
    parser.add_argument("rest", nargs="*", metavar="-- ...", help="further options of pytest, such as: -- -k name")


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add which model agents call."""
    parser.add_argument("--model", metavar="ID", help="call this model through the proxy; else agents use their own")
    parser.add_argument("--upstream", metavar="URL", help="the server of --model")


def add_session(parser: argparse._ActionsContainer) -> None:
    """Add what every command that runs prompts has, `run` too."""
    parser.add_argument("-j", "--concurrency", type=positive, metavar="N", help="sessions at once (1)")
    parser.add_argument("-g", "--grader", action="append", default=[], metavar="PATH", help="may be repeated")
    parser.add_argument("--append", action="store_true", help="add to the file of -o")
    parser.add_argument("--progress", action="store_true", help="say on standard error how far it is")
    parser.add_argument("--debug", action="store_true", help="show what the agents print, and pytest")
    add_output(parser)


def positive(text: str) -> int:
    """Read a whole number from 1 on."""
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def milliseconds(text: str) -> float:
    """Read a time above 0."""
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError(text)
    return value


def read_corpus(args: argparse.Namespace) -> list[PromptCase]:
    """Read the prompts of a file or of standard input; raises ResultsError naming the line that is wrong."""
    from pytest_agentcap.analysis.prompts import read_prompts

    if args.rest and not args.rest[0].startswith("-"):
        raise ValueError(f"{args.rest[0]}: name one file of prompts; options of pytest stand behind --")
    if args.stdin == (args.prompts is not None):
        raise ValueError("name a file of prompts, or pass --stdin")
    if args.prompts and args.output and args.output.resolve() == Path(args.prompts).resolve():
        raise ValueError(f"-o {args.output}: that is the file of prompts; name another")
    return read_prompts(args.prompts or "-", complain)


def read_schema(given: str) -> HeadlessSchema:
    """Read a schema, and complain of keys that nobody reads; raises ValueError naming what is wrong."""
    path = Path(given)
    if not path.is_file():
        raise ValueError(f"--schema {given}: there is no such file")
    from pytest_agentcap.agents.headless import read_headless, unread_keys
    from pytest_agentcap.agents.spec import AgentError

    try:
        schema = read_headless(path).headless
    except AgentError as error:
        raise ValueError(f"--schema {error}") from error
    assert schema is not None
    if unread := unread_keys(path):
        complain(unread)
    return schema


def schema_file(given: str) -> str:
    """Return the absolute path of a schema that can be read; raises ValueError naming what is wrong."""
    read_schema(given)
    path = Path(given)
    if path.suffix != ".json":
        raise ValueError(f"--schema {given}: name the file .json")
    return str(path.absolute())


def run_sessions(
    prompts: Sequence[PromptCase], agent: str, words: Sequence[str], args: argparse.Namespace
) -> Iterator[Session]:
    """Run prompts by pytest with a headless adapter, and yield each session as it ends.

    Agents use their own model unless a model is named. Raises ValueError when pytest could not run them.
    """
    if not prompts:
        return
    with tempfile.TemporaryDirectory(prefix="agentcap-harness-") as folder:
        corpus = _corpus_file(prompts, args.prompts, Path(folder))
        command = [sys.executable, "-m", "pytest", str(corpus), *_words(agent, args), *words]
        with _log(args, Path(folder)) as log:
            for told in _told_by(command, log):
                if "problem" in told:
                    complain(told["problem"])
                else:
                    yield _session(prompts, told)


def _words(agent: str, args: argparse.Namespace) -> Iterator[str]:
    yield from ("-p", "agentcap", "-p", "pytest_agentcap.finished", "-p", "no:cacheprovider", "-q")
    yield from (f"--agent={agent}", "--sandbox=host")
    if args.model is None and args.upstream is None:
        yield "--bypass"
    else:
        yield from (f"--{name}={value}" for name in ("model", "upstream") if (value := getattr(args, name)))
    if args.timeout:
        yield f"--turn-timeout={args.timeout / 1000:g}"
    if args.cwd:
        yield f"--workspace={args.cwd}"
    if args.concurrency and args.concurrency > 1:
        yield from ("-p", "xdist", "-n", str(args.concurrency))
    if args.debug:
        yield "--agentcap-debug"
    yield from (f"--grader={grader}" for grader in args.grader)
    yield from args.rest


def _corpus_file(prompts: Sequence[PromptCase], given: str | None, folder: Path) -> Path:
    """Return a corpus that pytest takes: the file itself, for what lies beside it, or a copy of what it says."""
    from pytest_agentcap.commands.evals import row_line

    if given is not None and given != "-" and given.endswith(".jsonl"):
        return Path(given)
    copy = folder / "prompts.jsonl"
    copy.write_text("".join(f"{row_line(prompt)}\n" for prompt in prompts), "utf-8")
    return copy


@contextmanager
def _log(args: argparse.Namespace, folder: Path) -> Iterator[Path | None]:
    """Name the file that takes what pytest prints; none when it is to be seen."""
    yield None if args.debug else folder / "pytest.log"


def _told_by(command: Sequence[str], log: Path | None) -> Iterator[dict[str, Any]]:
    """Start pytest and yield what it tells of its sessions; when this one is ended, so is pytest."""
    from pytest_agentcap.finished import VARIABLE

    reader, writer = os.pipe()
    refused: list[str] = []
    with os.fdopen(reader, "rb") as told:
        with log.open("wb") if log else os.fdopen(os.dup(2), "wb") as shown:
            process = subprocess.Popen(
                command,
                env={**os.environ, VARIABLE: str(writer)},
                stdin=subprocess.DEVNULL,
                stdout=shown,
                stderr=subprocess.STDOUT,
                pass_fds=(writer,),
            )
        os.close(writer)
        with _ended_with_us(process):
            for line in told:
                record = json.loads(line)
                if "refused" in record:
                    refused.append(record["refused"])
                else:
                    yield record
            status = process.wait()
    # 0 and 1 are what sessions came to.
    if status not in (0, 1):
        lines = log.read_text("utf-8", "replace").strip().splitlines() if log else []
        raise ValueError("\n".join(refused) or _why_not(lines))


def _why_not(lines: Sequence[str]) -> str:
    """Return what of pytest's output says why it ran nothing: its error lines, else the last ones."""
    errors = [line.removeprefix("ERROR: ").removeprefix("agentcap: ") for line in lines if line.startswith("ERROR: ")]
    return "\n".join(errors or ["pytest could not run the prompts", *lines[-_TOLD_LINES:]])


@contextmanager
def _ended_with_us(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Interrupt pytest when we are: it ends its agents and keeps what there is."""
    try:
        with exit_on(signal.SIGTERM):
            yield
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait()


def _session(prompts: Sequence[PromptCase], told: Mapping[str, str]) -> Session:
    from pytest_agentcap.runs.layout import RunDirectory
    from pytest_agentcap.runs.results import read_result

    run = RunDirectory(Path(told["captures"]).parent)
    result = read_result(run.result(told["session"]))
    workspace = Path(told["workspace"]) if "workspace" in told else None
    return Session(prompts[int(result["index"]) - 1], run, result, workspace)


def tell_progress(args: argparse.Namespace, done: int, of: int, session: Session) -> None:
    """Say that a session has ended, if progress is wanted."""
    if args.progress:
        trial = f" trial {session.result['trial']}" if session.result["trial"] > 1 else ""
        note(f"[{done}/{of}] {session.prompt.id}{trial}: {session.result['verdict']}")
