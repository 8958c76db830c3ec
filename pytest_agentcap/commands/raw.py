"""`agentcap run` as agent-eval-harness has it: what programs print for prompts, line by line."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_agentcap.commands.evals import open_graders, row_line
from pytest_agentcap.commands.harness import (
    Session,
    milliseconds,
    read_corpus,
    run_sessions,
    schema_file,
    tell_progress,
)
from pytest_agentcap.commands.output import complain
from pytest_agentcap.commands.rows import open_rows

if TYPE_CHECKING:
    from pytest_agentcap.formats.eval_rows import RawOutput

_SCRIPT = "command.sh"
# The shell has the prompt as its last argument; all of its output is the reply.
_SHELL = {
    "version": 1,
    "name": "shell",
    "command": ["sh", _SCRIPT],
    "sessionMode": "iterative",
    "prompt": {},
    "output": {"flag": "", "value": ""},
    "outputMode": "text",
    "result": {"matchPath": "$", "matchValue": "", "contentPath": "$"},
}
# What an agent that did its part comes to; the rest is an error of the row.
_AGENT_DONE = frozenset({"captured", "passed", "failed", "grader_error"})


def run_raw(args: argparse.Namespace) -> int:
    """Run prompts by a schema or a shell command, and write RawOutput rows; without a file they come by the pipe."""
    args.stdin = args.stdin or args.prompts in (None, "-")
    args.prompts = None if args.prompts == "-" else args.prompts
    args.timeout = _milliseconds(args.timeout)
    prompts = read_corpus(args)
    open_graders(args.grader)
    done = 0
    with open_rows(args.output, args.append) as rows, _schema(args) as schema:
        for session in run_sessions(prompts, schema, (), args):
            done += 1
            tell_progress(args, done, len(prompts), session)
            rows.write(row_line(_raw_row(session)))
    if done < len(prompts):
        complain(f"{len(prompts) - done} of {len(prompts)} sessions did not take place")
    return 0 if done == len(prompts) else 1


@contextmanager
def _schema(args: argparse.Namespace) -> Iterator[str]:
    """Name the schema's file: the given one, or one made of a shell command."""
    if args.schema:
        yield schema_file(args.schema)
        return
    with tempfile.TemporaryDirectory(prefix="agentcap-shell-") as folder:
        Path(folder, _SCRIPT).write_text(shell_script(args.simple, args.shell))
        path = Path(folder) / "shell.json"
        path.write_text(json.dumps(_SHELL))
        yield str(path)


def _milliseconds(text: str | None) -> float | None:
    try:
        return milliseconds(text) if text else None
    except ValueError:
        raise ValueError(f"--timeout {text}: not a number of milliseconds above 0") from None


def shell_script(simple: str | None, template: str | None) -> str:
    """Make a script of a shell command; the prompt is a parameter of it, and never part of what the shell reads."""
    if simple is None:
        return f"PROMPT=$1; export PROMPT\n{template}\n"
    if "{}" not in simple:
        raise ValueError("--simple: write {} where the prompt goes")
    return simple.replace("{}", '"$1"', 1) + "\n"


def _raw_row(session: Session) -> RawOutput:
    from msgspec import UNSET

    from pytest_agentcap.formats.eval_rows import RawOutput, RawTiming
    from pytest_agentcap.formats.plain_rows import plain_capture
    from pytest_agentcap.formats.results_jsonl import capture_row

    result, prompt = session.result, session.prompt
    graded = plain_capture(capture_row(result, None))
    lines, arrivals = _lines(session)
    start, end = round(1000 * result["started_at"]), round(1000 * result["ended_at"])
    return RawOutput(
        id=prompt.id,
        input=prompt.input,
        hint=prompt.hint,
        metadata=prompt.metadata,
        raw_lines=lines,
        timing=RawTiming(start, end, end - start),
        error=UNSET if result["verdict"] in _AGENT_DONE else f"{result['verdict']}: {result['reason']}",
        arrivals=arrivals if any(at is not None for at in arrivals) else UNSET,
        score=graded.score,
        outcome=graded.outcome,
        graders=graded.graders,
        verdict=graded.verdict,
        reason=graded.reason,
    )


def _lines(session: Session) -> tuple[list[str], list[float | None]]:
    """Return what the program printed in all turns, without blank lines, and when each line came."""
    lines: list[str] = []
    arrivals: list[float | None] = []
    elapsed_ms = 0.0
    for turn in session.result["turns"]:
        out, at = (session.run.output(session.result["session"], turn["turn"], end) for end in ("out", "arrivals.json"))
        printed = out.read_text("utf-8", "replace").split("\n")
        times = json.loads(at.read_bytes()) if at.exists() else []
        for number, line in enumerate(printed):
            if line.strip():
                time = times[number] if number < len(times) else None
                lines.append(line)
                arrivals.append(None if time is None else round(elapsed_ms + time, 3))
        elapsed_ms += 1000 * turn["duration_s"]
    return lines, arrivals
