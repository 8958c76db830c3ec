"""How runs are ranked on one task: by weights, by the score alone, or by a program of the user's."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
from msgspec import UNSET, to_builtins

from pytest_agentcap.analysis.trials import estimates
from pytest_agentcap.formats.eval_rows import CaptureResult, GraderResult, TrialResult
from pytest_agentcap.formats.report_rows import Ranking
from pytest_agentcap.grading.base import GraderError
from pytest_agentcap.grading.find import load_program
from pytest_agentcap.strict import loads

Task: TypeAlias = Mapping[str, Any]
Strategy: TypeAlias = Callable[[Task], "Standing"]
# What modules of agent-eval-harness may call it.
_EXPORTS = ("grade", "default", "compare")


@dataclass(frozen=True, slots=True)
class Standing:
    """Hold how runs stand on one task: a rank and a score for each that can be compared; equal ranks are ties."""

    ranks: Mapping[str, int] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    reasoning: str | None = None
    problem: str | None = None

    @property
    def winner(self) -> str | None:
        """Return the run that alone is first, if two or more are compared."""
        first = [run for run, rank in self.ranks.items() if rank == min(self.ranks.values())]
        return first[0] if len(first) == 1 and len(self.ranks) > 1 else None


def stand(scores: Mapping[str, float | None]) -> Standing:
    """Rank by score, the highest first; None takes no part."""
    known = {run: score for run, score in scores.items() if score is not None}
    ranks = {
        run: 1 + sum(other > score and not math.isclose(other, score, rel_tol=1e-12) for other in known.values())
        for run, score in known.items()
    }
    return Standing(ranks, known)


@dataclass(frozen=True, slots=True)
class CaptureWeights:
    """Weigh score, speed 1/(1 + seconds) and absence of tool errors."""

    quality: float = 0.5
    latency: float = 0.3
    reliability: float = 0.2

    def __call__(self, task: Task) -> Standing:
        return stand({run: self._score(row) for run, row in task.items()})

    def _score(self, row: CaptureResult) -> float | None:
        score, total = score_of_row(row), row.timing.total
        if score is None or total is None:
            return None
        speed = 1 / (1 + total / 1000)
        return score * self.quality + speed * self.latency + (0 if row.tool_errors else 1) * self.reliability


@dataclass(frozen=True, slots=True)
class TrialWeights:
    """Weigh pass@k, pass^k and how near they are, all plug-in."""

    capability: float = 0.4
    reliability: float = 0.4
    consistency: float = 0.2

    def __call__(self, task: Task) -> Standing:
        return stand({run: self._score(row) for run, row in task.items()})

    def _score(self, row: TrialResult) -> float | None:
        at_k, exp_k = plug_in(row)
        if at_k is None or exp_k is None:
            return None
        near = 1 - max(0.0, at_k - exp_k)
        return at_k * self.capability + exp_k * self.reliability + near * self.consistency


def weights_of(environ: Mapping[str, str], trials: bool) -> CaptureWeights | TrialWeights:
    """Read COMPARE_QUALITY and the like; raises ValueError for one that is no number or negative."""
    names = ("capability", "reliability", "consistency") if trials else ("quality", "latency", "reliability")
    given = {
        name: _weight(f"COMPARE_{name.upper()}", environ) for name in names if f"COMPARE_{name.upper()}" in environ
    }
    return TrialWeights(**given) if trials else CaptureWeights(**given)


def _weight(name: str, environ: Mapping[str, str]) -> float:
    try:
        value = float(environ[name])
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name}={environ[name]}: give a number, 0 or more")
    return value


def by_score(task: Task) -> Standing:
    """Rank by the score alone; of trials, by the share that passed."""
    return stand(
        {run: score_of_row(row) if isinstance(row, CaptureResult) else rate_of(row) for run, row in task.items()}
    )


def score_of_row(row: CaptureResult) -> float | None:
    """Return the score of a session that was judged."""
    return row.score.score if isinstance(row.score, GraderResult) and row.verdict != "infra" else None


def rate_of(row: TrialResult) -> float | None:
    """Return the share of the judged trials that passed."""
    return estimates(row.trials).pass_rate


def plug_in(row: TrialResult) -> tuple[float | None, float | None]:
    """Return `passAtK` and `passExpK` as the row tells them; None where no trial was judged."""
    if row.pass_at_k is UNSET or row.pass_exp_k is UNSET:
        return None, None
    return row.pass_at_k, row.pass_exp_k


@dataclass(frozen=True, slots=True)
class ProgramStrategy:
    """Ask a Python file that defines `grade`, a module of JavaScript, or an executable how runs rank on a task."""

    ask: Callable[[bytes], tuple[bytes, bytes]]
    name: str

    def __call__(self, task: Task) -> Standing:
        try:
            return self._standing(task)
        except GraderError as error:
            return Standing(problem=str(error))

    def _standing(self, task: Task) -> Standing:
        first = next(iter(task.values()))
        document = {
            "id": first.id,
            "input": first.input,
            "hint": first.hint,
            "metadata": first.metadata,
            "runs": {run: _told(row) for run, row in task.items()},
        }
        stdout, _ = self.ask(json.dumps(_known(document)).encode())
        try:
            ranking = msgspec.convert(loads(stdout), Ranking)
        except (ValueError, RecursionError) as error:
            raise GraderError(f"grader {self.name}: its answer is no ranking: {error}") from None
        runs = [rank.run for rank in ranking.rankings]
        unknown = sorted(set(runs) - task.keys())
        if unknown or len(set(runs)) < len(runs):
            raise GraderError(f"grader {self.name}: it must rank each of {', '.join(task)} at most once")
        return Standing(
            {rank.run: rank.rank for rank in ranking.rankings},
            {rank.run: rank.score for rank in ranking.rankings},
            ranking.reasoning,
        )


def _told(row: CaptureResult | TrialResult) -> dict[str, Any]:
    told = to_builtins(row)
    if isinstance(row, CaptureResult):
        kept = {name: told.get(name) for name in ("output", "trajectory", "score", "toolErrors")}
        return _known({**kept, "duration": row.timing.total})
    return _known({name: told.get(name) for name in ("passRate", "passAtK", "passExpK", "k", "trials")})


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None and value is not UNSET}


def load_strategy(name: str, graders: Sequence[str], trials: bool) -> Strategy:
    """Return a strategy by its name; raises ValueError for a grader or weights that cannot be used."""
    if name == "weighted":
        return weights_of(os.environ, trials)
    if name == "statistical":
        return by_score
    if len(graders) != 1:
        raise ValueError("--strategy custom: name one comparison grader with -g")
    try:
        program = load_program(graders[0], base=Path.cwd(), exports=_EXPORTS)
    except GraderError as error:
        raise ValueError(str(error)) from None
    return ProgramStrategy(program.ask, program.name)
