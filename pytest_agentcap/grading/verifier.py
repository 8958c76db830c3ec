"""The verifier of a Harbor task: its tests over a copy of what the agent left, in a container that it never was in."""

from __future__ import annotations

import json
import math
import re
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from pytest_agentcap.corpus.harbortask import HarborTask
from pytest_agentcap.grading.base import GraderError, GraderInput, GraderResult
from pytest_agentcap.sandbox.base import Command, Completed, Sandbox, SandboxError, SandboxOptions, SandboxSession
from pytest_agentcap.sandbox.copyout import is_cut
from pytest_agentcap.sandbox.egress import ClosedDoor
from pytest_agentcap.sandbox.task_image import TESTS, VERIFIER_LOGS

_EMPTY = 'test ! -d "$1" || find "$1" -mindepth 1 -delete'
_EMPTY_S = 60.0
_MAX_REWARD_BYTES = 1 << 16
_MAX_TESTS_BYTES = 1 << 20
_LINE_CHARS = 300
_REWARD_TEXT, _REWARD_JSON = "reward.txt", "reward.json"
_FETCHES = re.compile(r"\b(?:apt-get|apk|curl|wget|uvx?|pip3?|npm)\b")


@dataclass(frozen=True, slots=True)
class VerifierGrader:
    """Run `tests/test.sh` in a fresh container of the task's image, where the workspace is a copy of the agent's.

    Of all that the agent left, only its workspace comes in, and into a verifier's own container only what the task
    says; the tests come after that, and the folder for the reward is new. `log` is where the output goes.
    """

    task: HarborTask
    sandbox: Sandbox
    options: SandboxOptions
    log: Path
    name: str = "verifier"

    def grade(self, given: GraderInput) -> GraderResult:
        """Return the verdict: passed is exit code 0 and, where there is a reward file, a reward of 1.

        Raises GraderError when the tests could not be run to their end, or leave no reward that can be read although
        they speak of one.
        """
        if given.cwd is None:
            raise GraderError(f"grader {self.name}: there is no workspace to test; it needs a session at its end")
        started, door = time.monotonic(), ClosedDoor()
        with tempfile.TemporaryDirectory(prefix="agentcap-verifier-") as scratch:
            try:
                options = replace(self.options, skills=None)
                with closing(self.sandbox.start(f"{given.task_id[:40]}-verifier", door, options)) as box:
                    door.close()
                    self._fill(box, given, Path(scratch))
                    completed = self._run(box)
                    box.stop()
                    logs = Path(scratch, "logs")
                    logs.mkdir()
                    box.copy_out(VERIFIER_LOGS, logs)
            except (SandboxError, OSError) as error:
                raise GraderError(f"grader {self.name}: {error}") from error
            reward, rewards = self._read(logs, completed)
        return self._judged(completed, reward, rewards, time.monotonic() - started)

    def _fill(self, box: SandboxSession, given: GraderInput, scratch: Path) -> None:
        separate = self.task.separate
        if separate is None:
            assert given.cwd is not None, "checked before a container is started"
            _empty(box, box.workspace, scratch)
            box.put_tree(given.cwd, box.workspace)
        else:
            for path in separate.container.given:
                self._hand_over(path, box, given, scratch)
            # After what the agent may have put there, where a task gives the verifier all of /logs.
            _empty(box, VERIFIER_LOGS, scratch)
        if separate is None or not separate.has_tests:
            box.put_tree(self.task.folder / "tests", TESTS)

    def _hand_over(self, path: str, box: SandboxSession, given: GraderInput, scratch: Path) -> None:
        """Copy a file or a folder that the agent left to the same place; without it there is nothing to copy."""
        assert given.copy_entry is not None, "where there is a workspace there is its sandbox"
        with tempfile.TemporaryDirectory(dir=scratch) as place:
            left_out = given.copy_entry(path, Path(place))
            if left_out == [f"{path!r} is not there"]:
                return
            if cut := next(filter(is_cut, left_out), None):
                raise SandboxError(f"{path} cannot be given to the verifier as a whole: {cut}")
            if Path(place, PurePosixPath(path).name).is_dir():
                _empty(box, path, scratch)
            box.put_tree(Path(place), str(PurePosixPath(path).parent))

    def _run(self, box: SandboxSession) -> Completed:
        command = Command(
            ["bash", f"{TESTS}/test.sh"], self.task.verifier_env, None, self.log, self.log, self.task.verifier_timeout_s
        )
        completed = box.run(command, _no_tick)
        if completed.timed_out:
            raise SandboxError(f"tests/test.sh did not finish within {self.task.verifier_timeout_s:g} s")
        if completed.exit_code is None:
            raise SandboxError(f"tests/test.sh was ended: {completed.limit or 'killed'}")
        return completed

    def _read(self, logs: Path, completed: Completed) -> tuple[float | None, Mapping[str, Any] | None]:
        try:
            reward, rewards = read_reward(logs)
        except ValueError as error:
            raise GraderError(f"grader {self.name}: {error}{_last_line(self.log)}") from error
        if reward is None and speaks_of_reward(self.task.folder / "tests"):
            told = f"ended with exit code {completed.exit_code} and left no reward file"
            raise GraderError(f"grader {self.name}: tests/test.sh {told}{self._hint()}{_last_line(self.log)}")
        return reward, rewards

    def _hint(self) -> str:
        """Say that the tests fetch something, where they cannot: then their failure need not be the agent's."""
        text = (self.task.folder / "tests" / "test.sh").read_text("utf-8", "replace")
        closed = self.options.network != "open"
        return " (it fetches something, which needs --network open)" if closed and _FETCHES.search(text) else ""

    def _judged(
        self, completed: Completed, reward: float | None, rewards: Mapping[str, Any] | None, duration_s: float
    ) -> GraderResult:
        ended_well = completed.exit_code == 0
        score = float(ended_well) if reward is None else min(1.0, max(0.0, reward))
        # A reward that is claimed by tests that failed is not believed.
        passed = ended_well and score >= 1.0
        outcome = {"exit_code": completed.exit_code, "reward": reward, "rewards": rewards}
        told = f"exit code {completed.exit_code}, reward {reward}"
        reasoning = None if passed else f"{told}{self._hint()}{_last_line(self.log)}"
        return GraderResult(
            self.name, passed, score if ended_well else min(score, 0.999), reasoning, outcome, duration_s
        )


def speaks_of_reward(tests: Path) -> bool:
    """Tell whether tests name a reward file: then one that is missing means that they came to no verdict."""
    names = (_REWARD_TEXT.encode(), _REWARD_JSON.encode())
    files = (path for path in tests.rglob("*") if path.is_file() and path.stat().st_size <= _MAX_TESTS_BYTES)
    return any(name in path.read_bytes() for path in files for name in names)


def read_reward(logs: Path) -> tuple[float | None, Mapping[str, Any] | None]:
    """Return the reward, and the object of rewards where there is one; None and None where there is no file.

    The reward is `reward` of `reward.json`, else the number of `reward.txt`, else the mean of what is in `reward.json`,
    each value held to 0 to 1. Raises ValueError for a file that holds no such thing.
    """
    rewards = _read_json(logs / _REWARD_JSON)
    if rewards is not None and "reward" in rewards:
        return _number(rewards["reward"], _REWARD_JSON), rewards
    if (text := _text_of(logs / _REWARD_TEXT)) is not None:
        return _number(text, _REWARD_TEXT), rewards
    if rewards is None:
        return None, None
    values = [min(1.0, max(0.0, _number(value, _REWARD_JSON))) for value in rewards.values()]
    if not values:
        raise ValueError(f"{_REWARD_JSON} holds no reward")
    return sum(values) / len(values), rewards


def _read_json(path: Path) -> Mapping[str, Any] | None:
    if (text := _text_of(path)) is None:
        return None
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path.name} is not JSON: {text[:_LINE_CHARS]!r}") from error
    return told if isinstance(told, dict) else {"reward": told}


def _text_of(path: Path) -> str | None:
    if not path.is_file():
        return None
    if path.stat().st_size > _MAX_REWARD_BYTES:
        raise ValueError(f"{path.name} is larger than {_MAX_REWARD_BYTES} bytes")
    return path.read_text("utf-8", "replace")


def _number(value: object, name: str) -> float:
    """Return a reward as Harbor does: `1`, `.5` and true are numbers, and what is not finite is none."""
    try:
        number = float(value) if isinstance(value, int | float | str) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{name} holds no number: {str(value)[:_LINE_CHARS]!r}")
    return number


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    return f": {lines[-1][:_LINE_CHARS]}" if lines else ""


def _empty(box: SandboxSession, folder: str, scratch: Path) -> None:
    out, err = scratch / "out", scratch / "err"
    emptied = box.run(Command(["sh", "-c", _EMPTY, "sh", folder], {}, None, out, err, _EMPTY_S), _no_tick)
    if emptied.exit_code != 0:
        raise SandboxError(f"{folder} of the verifier's container cannot be emptied")


def _no_tick() -> None:
    """Let a command run on."""
