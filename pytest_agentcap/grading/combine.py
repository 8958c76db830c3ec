"""Grade one session by several graders."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_agentcap.grading.base import Grader, GraderInput, GraderResult


def run_graders(graders: Sequence[Grader], given: GraderInput) -> tuple[GraderResult, ...]:
    """Return each grader's verdict, in order; a session passes when all of them pass.

    Raises GraderError for the first grader that gives none.
    """
    return tuple(grader.grade(given) for grader in graders)
