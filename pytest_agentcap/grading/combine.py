"""Grade one session by several graders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pytest_agentcap.grading.base import Grader, GraderError, GraderInput, GraderResult


@dataclass(frozen=True, slots=True)
class Graded:
    """Hold the verdicts of the graders that gave one, in order, and in `error` why the first of the others did not."""

    results: tuple[GraderResult, ...] = ()
    error: str | None = None

    def joined(self, other: Graded) -> Graded:
        return Graded(self.results + other.results, self.error or other.error)


def run_graders(graders: Sequence[Grader], given: GraderInput) -> Graded:
    """Have all graders judge: one that breaks takes nothing from the others. A name that comes again gets `-2`."""
    results, errors = [], []
    seen: Counter[str] = Counter()
    for grader in graders:
        seen[grader.name] += 1
        name = grader.name if seen[grader.name] == 1 else f"{grader.name}-{seen[grader.name]}"
        try:
            results.append(replace(grader.grade(given), name=name))
        except GraderError as error:
            errors.append(str(error))
    return Graded(tuple(results), errors[0] if errors else None)


def mean_score(results: Sequence[GraderResult]) -> float | None:
    """Return the mean of the graders' scores; None without any."""
    return sum(result.score for result in results) / len(results) if results else None
