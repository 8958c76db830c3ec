"""Grade by a command over the workspace, run where what the agent wrote may be executed."""

from __future__ import annotations

import time
from dataclasses import dataclass

from pytest_agentcap.grading.arguments import Argument, read_command
from pytest_agentcap.grading.base import BenchError, GraderError, GraderInput, GraderResult
from pytest_agentcap.grading.process import Finished
from pytest_agentcap.grading.program import last_line


@dataclass(frozen=True, slots=True)
class CommandGrader:
    """Pass a session when the command exits with 0, fail it with every other exit code.

    A command that cannot be run to its end, for its time or a limit, gives no verdict.
    """

    source: Argument
    timeout_s: float

    @property
    def name(self) -> str:
        return self.source.grader

    def grade(self, given: GraderInput) -> GraderResult:
        """Return the verdict; raises GraderError when there is none."""
        argv = self.source.read(read_command, given)
        if given.bench is None:
            raise GraderError(f"grader {self.name}: there is no workspace to run it in; it needs a session at its end")
        started = time.monotonic()
        try:
            finished = given.bench.run(argv, self.timeout_s)
        except BenchError as error:
            raise GraderError(f"grader {self.name}: {error}") from error
        if finished.stopped is not None:
            raise GraderError(f"grader {self.name}: {finished.stopped}; {_said(finished)}")
        passed = finished.returncode == 0
        return GraderResult(
            name=self.name,
            passed=passed,
            score=float(passed),
            reasoning=f"exit code {finished.returncode}; {_said(finished)}",
            outcome={"exit_code": finished.returncode},
            duration_s=time.monotonic() - started,
        )


def _said(finished: Finished) -> str:
    for stream, output in (("stderr", finished.stderr), ("stdout", finished.stdout)):
        if said := last_line(output):
            return f"its last line on {stream}: {said}"
    return "it wrote nothing"
