"""Run graders as programs outside of the session's process."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_agentcap.grading.answer import AnswerError, parse_answer
from pytest_agentcap.grading.base import GraderError, GraderInput, GraderResult
from pytest_agentcap.grading.process import Finished, run_program

NAMES = "AGENTCAP_GRADER_ENV"
DEFAULT_TIMEOUT_S = 120.0

_STDERR_CHARS = 300


@dataclass(frozen=True, slots=True)
class ProgramGrader:
    """Grade by a program that reads one JSON document on stdin and writes one on stdout.

    It is given `input`, `output`, and `hint`, `trajectory`, `metadata` and `cwd` where there are any. It starts in an
    empty folder outside the workspace, with an empty home and no variable of the session but PATH and the locale;
    `variables` are its own.
    """

    name: str
    argv: tuple[str, ...]
    timeout_s: float = DEFAULT_TIMEOUT_S
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)

    def grade(self, given: GraderInput) -> GraderResult:
        """Return the program's verdict; raises GraderError with its last line on stderr when it gives none."""
        return self.judge(self._document(given))

    def judge(self, document: bytes) -> GraderResult:
        """Return the program's verdict on a document; raises as `grade`."""
        started = time.monotonic()
        stdout, stderr = self.ask(document)
        duration_s = time.monotonic() - started
        try:
            answer = parse_answer(stdout)
        except AnswerError as error:
            raise self._error(str(error), stderr) from None
        return GraderResult(
            name=self.name,
            passed=answer.passed,
            score=answer.score,
            reasoning=answer.reasoning,
            outcome=answer.outcome,
            duration_s=duration_s,
        )

    def ask(self, document: bytes) -> tuple[bytes, bytes]:
        """Run the program on a document and return its stdout and stderr; raises GraderError unless it ends well."""
        # A process that left the group may still write there; a leftover folder is no reason to lose a verdict.
        with tempfile.TemporaryDirectory(prefix="agentcap-grader-", ignore_cleanup_errors=True) as scratch:
            finished = self._run(document, Path(scratch))
        if finished.stopped is not None:
            raise self._error(finished.stopped, finished.stderr)
        if finished.returncode != 0:
            raise self._error(_ending(finished.returncode), finished.stderr)
        return finished.stdout, finished.stderr

    def _document(self, given: GraderInput) -> bytes:
        document: dict[str, Any] = {"input": given.input, "output": given.output}
        if given.hint is not None:
            document["hint"] = given.hint
        if given.trajectory is not None:
            document["trajectory"] = list(given.trajectory)
        if given.metadata:
            document["metadata"] = dict(given.metadata)
        if given.cwd is not None:
            document["cwd"] = str(given.cwd)
        try:
            return json.dumps(document, allow_nan=False).encode("ascii")
        except (TypeError, ValueError) as error:
            raise GraderError(f"grader {self.name}: the metadata of {given.task_id} is not JSON: {error}") from None

    def _run(self, stdin: bytes, scratch: Path) -> Finished:
        cwd, home, temporary = scratch / "cwd", scratch / "home", scratch / "tmp"
        for folder in (cwd, home, temporary):
            folder.mkdir()
        env = {**clean_environment(os.environ, home=home, temporary=temporary), **self.variables}
        try:
            return run_program(self.argv, stdin=stdin, cwd=cwd, env=env, timeout_s=self.timeout_s)
        except OSError as error:
            problem = f"{self.argv[0]} cannot be started ({error.strerror})"
            raise GraderError(f"grader {self.name}: {problem}; check its #! line and permissions") from error

    def _error(self, problem: str, stderr: bytes) -> GraderError:
        said = last_line(stderr)
        last = f"its last line on stderr: {said}" if said else "it wrote nothing on stderr"
        return GraderError(f"grader {self.name}: {problem}; {last}")


def python_grader(name: str, path: Path, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> ProgramGrader:
    """Return the grader that calls `grade` of a Python file in a fresh interpreter."""
    runner = Path(__file__).with_name("runner.py")
    return ProgramGrader(name, (sys.executable, "-P", str(runner), str(path)), timeout_s)


def clean_environment(environ: Mapping[str, str], *, home: Path, temporary: Path) -> dict[str, str]:
    """Return what a grader may see of an environment: PATH and the locale, beside a home and a TMPDIR of its own."""
    kept = {key: value for key, value in environ.items() if key in {"PATH", "LANG"} or key.startswith("LC_")}
    return {"PATH": os.defpath, **kept, "HOME": str(home), "TMPDIR": str(temporary)}


def named_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that AGENTCAP_GRADER_ENV names, by commas or blanks: the keys of graders that ask a model.

    Raises GraderError for one that is not set, without which a grader would judge in another way than is meant.
    """
    names = environ.get(NAMES, "").replace(",", " ").split()
    missing = [name for name in names if name not in environ]
    if missing:
        raise GraderError(f"{NAMES}: not set: {', '.join(missing)}")
    return {name: environ[name] for name in names}


def last_line(output: bytes) -> str:
    """Return the last line of a program's output that is not blank, cut where it is long; empty without one."""
    lines = [line.strip() for line in output.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1][:_STDERR_CHARS] if lines else ""


def _ending(returncode: int | None) -> str:
    if returncode is not None and returncode < 0:
        return f"was ended by signal {-returncode} ({signal.strsignal(-returncode)})"
    return f"exited with code {returncode}"
