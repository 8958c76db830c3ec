"""What a task on a repository expects, and how what the agent left compares with it."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pytest_agentcap.corpus.repotask import Output, RepoTask, unfit
from pytest_agentcap.grading.base import GraderError
from pytest_agentcap.grading.process import run_program
from pytest_agentcap.grading.program import clean_environment

NAME = "oracles"
_TIMEOUT_S = 120.0
_MAX_ANSWER_BYTES = 1 << 20
# Far below what Python's own stack takes, so that comparing an answer never fails for its depth.
_MAX_ANSWER_DEPTH = 100
_REASON_CHARS = 100


@dataclass(frozen=True, slots=True)
class OutputCheck:
    """Hold one value as it was expected and as the agent gave it, None where it gave none; `problem` says why not."""

    key: str
    ok: bool
    expected: Any
    actual: Any
    weight: float
    comparator: str
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Truth:
    """Hold the expected values of a task, computed on `checkout`, a pristine one, before an agent could touch any."""

    task: RepoTask
    checkout: Path
    values: Mapping[str, Any]

    @classmethod
    def of(cls, task: RepoTask, checkout: Path) -> Truth:
        """Compute what the task expects.

        Raises GraderError when an oracle cannot tell, which is the corpus's fault.
        """
        given = {each.key: each.expected for each in task.outputs if each.oracle is None}
        asked = [each for each in task.outputs if each.oracle and each.type != "oracle_bool"]
        computed = _computed(task, asked, checkout)
        judged = {each.key: True for each in task.outputs if each.type == "oracle_bool"}
        for output in asked:
            if problem := unfit(output.comparator, computed[output.key]):
                raise GraderError(f"grader {NAME}: the output {output.key!r}: its oracle's value {problem}")
        return cls(task, checkout, {**given, **computed, **judged})

    def check(self, frozen: Path) -> tuple[OutputCheck, ...]:
        """Compare a copy of the workspace with what is expected, in the order of the task's outputs.

        Raises GraderError when that cannot be told.
        """
        answer, problem = read_answer(frozen / self.task.answer)
        asked = [each for each in self.task.outputs if each.type != "oracle_bool" and each.key in answer]
        same = _compare(asked, self.values, answer)
        judged = self._judged(frozen)
        return tuple(self._output(each, answer, problem, same | judged, judged) for each in self.task.outputs)

    def _output(
        self,
        output: Output,
        answer: Mapping[str, Any],
        problem: str | None,
        results: Mapping[str, Any],
        judged: Mapping[str, Any],
    ) -> OutputCheck:
        key = output.key
        ok = results.get(key) is True
        actual = judged[key] if key in judged else answer.get(key)
        given = key in judged or key in answer
        problem = None if given else problem or f"{self.task.answer} has no {key!r}"
        return OutputCheck(key, ok, self.values[key], actual, output.weight, output.comparator, problem)

    def _judged(self, frozen: Path) -> dict[str, Any]:
        """Ask the oracles that look at what the agent wrote, in a pristine tree that has its answers and no more."""
        asked = [each for each in self.task.outputs if each.type == "oracle_bool"]
        if not asked:
            return {}
        if any(not PurePosixPath(allowed).parts for allowed in self.task.policy.write_paths):
            return _compute(self.task, asked, frozen)
        with tempfile.TemporaryDirectory(prefix="agentcap-oracle-") as scratch:
            tree = Path(scratch, "tree")
            shutil.copytree(self.checkout, tree, symlinks=True)
            for allowed in (self.task.answer, *self.task.policy.write_paths):
                _overlay(frozen, tree, allowed)
            return _compute(self.task, asked, tree)


def read_answer(path: Path) -> tuple[Mapping[str, Any], str | None]:
    """Read the object that an agent answered with; say what is wrong when there is none."""
    name = "/".join(path.parts[-2:])
    if not path.is_file():
        return {}, f"{name} is missing"
    if path.stat().st_size > _MAX_ANSWER_BYTES:
        return {}, f"{name} has more than {_MAX_ANSWER_BYTES} bytes"
    try:
        answer = json.loads(path.read_bytes(), parse_constant=_refuse, parse_float=_finite)
        json.dumps(answer).encode()
    except (ValueError, RecursionError):
        return {}, f"{name} is not valid JSON"
    if _depth(answer) > _MAX_ANSWER_DEPTH:
        return {}, f"{name} is nested deeper than {_MAX_ANSWER_DEPTH} levels"
    return (answer, None) if isinstance(answer, dict) else ({}, f"{name} is not a JSON object")


def _depth(value: Any) -> int:
    """Return how many lists and objects are inside of each other, without going down into them."""
    level, depth = [value], 0
    while inner := [each for each in level if isinstance(each, dict | list)]:
        level = [child for each in inner for child in (each.values() if isinstance(each, dict) else each)]
        depth += 1
    return depth


def shortened(value: Any) -> str:
    """Return a value as JSON text that fits into one line of a reason."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _REASON_CHARS else f"{text[:_REASON_CHARS]}…"


def _overlay(frozen: Path, tree: Path, allowed: str) -> None:
    path = PurePosixPath(allowed)
    # A link of the repository must not lead what is written out of the copy.
    if path.is_absolute() or ".." in path.parts or any((tree / above).is_symlink() for above in path.parents):
        return
    source, target = frozen / path, tree / path
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True)
    elif source.is_file():
        shutil.copyfile(source, target)


def _computed(task: RepoTask, outputs: Sequence[Output], checkout: Path) -> dict[str, Any]:
    """Compute values on a checkout that later sessions start from: a corpus's own functions have a copy of it."""
    if not any(":" in each.oracle.fn for each in outputs if each.oracle):
        return _compute(task, outputs, checkout)
    with tempfile.TemporaryDirectory(prefix="agentcap-oracle-") as scratch:
        tree = Path(scratch, "tree")
        shutil.copytree(checkout, tree, symlinks=True)
        return _compute(task, outputs, tree)


def _compute(task: RepoTask, outputs: Sequence[Output], tree: Path) -> dict[str, Any]:
    jobs = [{"fn": each.oracle.fn, "args": dict(each.oracle.args)} for each in outputs if each.oracle]
    results = _run({"oracles": jobs, "tree": str(tree), "search": [str(task.root)]}, outputs)
    return {output.key: result for output, result in zip(outputs, results, strict=True)}


def _compare(outputs: Sequence[Output], expected: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    jobs = [
        {
            "comparator": each.comparator,
            "expected": expected[each.key],
            "actual": answer[each.key],
            "rel": each.rel,
            "abs": each.abs,
        }
        for each in outputs
    ]
    results = _run({"compare": jobs}, outputs)
    return {output.key: result for output, result in zip(outputs, results, strict=True)}


def _run(job: Mapping[str, Any], outputs: Sequence[Output]) -> list[Any]:
    """Have the runner do a job, one item for each output. Raises GraderError."""
    if not outputs:
        return []
    runner = Path(__file__).with_name("oracle_runner.py")
    with tempfile.TemporaryDirectory(prefix="agentcap-oracle-", ignore_cleanup_errors=True) as scratch:
        home = Path(scratch)
        argv = (sys.executable, "-P", str(runner))
        env = clean_environment(os.environ, home=home, temporary=home)
        finished = run_program(argv, stdin=json.dumps(job).encode(), cwd=home, env=env, timeout_s=_TIMEOUT_S)
    if finished.stopped or finished.returncode != 0:
        lines = finished.stderr.decode("utf-8", "replace").strip().splitlines()
        why = finished.stopped or (lines[-1] if lines else f"ended with exit code {finished.returncode}")
        raise GraderError(f"grader {NAME}: {why}")
    results = json.loads(finished.stdout)
    for output, result in zip(outputs, results, strict=True):
        if "error" in result:
            oracle = output.oracle.fn if output.oracle and "oracles" in job else output.comparator
            raise GraderError(f"grader {NAME}: {oracle} of the output {output.key!r} failed: {result['error']}")
    return [result["value"] for result in results]


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(digits)
    return value
