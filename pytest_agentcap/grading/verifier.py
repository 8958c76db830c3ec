"""The verifier of a Harbor task: its tests over a copy of what the agent left, in a container that it never was in."""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_agentcap.corpus.harbortask import HarborTask
from pytest_agentcap.grading.base import GraderError, GraderInput, GraderResult
from pytest_agentcap.sandbox.base import Command, Completed, Sandbox, SandboxError, SandboxOptions, SandboxSession
from pytest_agentcap.sandbox.egress import ClosedDoor
from pytest_agentcap.sandbox.task_image import TESTS, VERIFIER_LOGS

_EMPTY = 'find "$1" -mindepth 1 -delete'
_EMPTY_S = 60.0
_MAX_REWARD_BYTES = 1 << 16
_LINE_CHARS = 300


@dataclass(frozen=True, slots=True)
class VerifierGrader:
    """Run `tests/test.sh` in a fresh container of the task's image, where the workspace is a copy of the agent's.

    Of all that the agent left, only its workspace comes in; the tests come after that, and the folder for the reward is
    new. `log` is where the output goes.
    """

    task: HarborTask
    sandbox: Sandbox
    options: SandboxOptions
    log: Path
    name: str = "verifier"

    def grade(self, given: GraderInput) -> GraderResult:
        """Return the verdict: passed is exit code 0 and, where there is a reward file, a reward of 1.

        Raises GraderError when the tests could not be run to their end.
        """
        if given.cwd is None:
            raise GraderError(f"grader {self.name}: there is no workspace to test; it needs a session at its end")
        started, door = time.monotonic(), ClosedDoor()
        with tempfile.TemporaryDirectory(prefix="agentcap-verifier-") as scratch:
            try:
                options = replace(self.options, skills=None)
                with closing(self.sandbox.start(f"{given.task_id[:40]}-verifier", door, options)) as box:
                    door.close()
                    completed = self._run(box, given.cwd, Path(scratch))
                    box.stop()
                    logs = Path(scratch, "logs")
                    logs.mkdir()
                    box.copy_out(VERIFIER_LOGS, logs)
            except (SandboxError, OSError) as error:
                raise GraderError(f"grader {self.name}: {error}") from error
            reward, rewards = read_reward(logs)
        return self._judged(completed, reward, rewards, time.monotonic() - started)

    def _run(self, box: SandboxSession, frozen: Path, scratch: Path) -> Completed:
        out, err = scratch / "out", scratch / "err"
        emptied = box.run(Command(["sh", "-c", _EMPTY, "sh", box.workspace], {}, None, out, err, _EMPTY_S), _no_tick)
        if emptied.exit_code != 0:
            raise SandboxError(f"{box.workspace} of the verifier's container cannot be emptied")
        box.put_tree(frozen, box.workspace)
        box.put_tree(self.task.folder / "tests", TESTS)
        command = Command(
            ["bash", f"{TESTS}/test.sh"], self.task.verifier_env, None, self.log, self.log, self.task.verifier_timeout_s
        )
        completed = box.run(command, _no_tick)
        if completed.timed_out:
            raise SandboxError(f"tests/test.sh did not finish within {self.task.verifier_timeout_s:g} s")
        if completed.exit_code is None:
            raise SandboxError(f"tests/test.sh was ended: {completed.limit or 'killed'}")
        return completed

    def _judged(
        self, completed: Completed, reward: float | None, rewards: Mapping[str, Any] | None, duration_s: float
    ) -> GraderResult:
        ended_well = completed.exit_code == 0
        score = float(ended_well) if reward is None else min(1.0, max(0.0, reward))
        # A reward that is claimed by tests that failed is not believed.
        passed = ended_well and score >= 1.0
        outcome = {"exit_code": completed.exit_code, "reward": reward, "rewards": rewards}
        reasoning = None if passed else f"exit code {completed.exit_code}, reward {reward}{_last_line(self.log)}"
        return GraderResult(
            self.name, passed, score if ended_well else min(score, 0.999), reasoning, outcome, duration_s
        )


def read_reward(logs: Path) -> tuple[float | None, Mapping[str, Any] | None]:
    """Read `reward.txt`, a number, or `reward.json`, an object of numbers of which `reward` counts, or the only one.

    None and None where there is neither, or none that can be read.
    """
    for path in (logs / "reward.txt", logs / "reward.json"):
        if not path.is_file() or path.stat().st_size > _MAX_REWARD_BYTES:
            continue
        try:
            told = json.loads(path.read_text("utf-8"))
        except (ValueError, RecursionError):
            continue
        if isinstance(told, dict):
            one = told.get("reward", next(iter(told.values())) if len(told) == 1 else None)
            return _number(one), told
        return _number(told), None
    return None, None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    return f": {lines[-1][:_LINE_CHARS]}" if lines else ""


def _no_tick() -> None:
    """Let a command run on."""
