"""References of a corpus held against its graders: as answers, or acted out by the scripted model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from pytest_agentcap.analysis.regrade import Grading
from pytest_agentcap.corpus.task import Task
from pytest_agentcap.formats.eval_rows import GraderResult, PromptCase
from pytest_agentcap.formats.report_rows import ReferenceRun, ValidationResult
from pytest_agentcap.formats.results_jsonl import capture_row


def with_reference(prompts: Sequence[PromptCase]) -> list[PromptCase]:
    """Return the prompts that have a reference, an empty one included."""
    return [prompt for prompt in prompts if prompt.reference is not UNSET]


def validate_answer(prompt: PromptCase, grading: Grading) -> ValidationResult:
    """Grade a reference as if it had been the agent's answer."""
    row = {
        "id": prompt.id,
        "input": prompt.input,
        "output": _text(prompt),
        "hint": None if prompt.hint is UNSET else prompt.hint,
        "metadata": prompt.metadata if isinstance(prompt.metadata, dict) else {},
        "trajectory": [],
    }
    grade = grading.grade(row)
    return _result(prompt, grade.score, grade.problem)


def validate_run(prompt: PromptCase, result: Mapping[str, Any] | None) -> ValidationResult:
    """Tell what came of acting out a reference; `result` is its session's, None when it was not run at all."""
    if result is None:
        return _result(prompt, None, "it was not run", ReferenceRun("no_session"))
    row = capture_row(result, None)
    score = row.score if isinstance(row.score, GraderResult) else None
    verdict = str(result.get("verdict"))
    reason = result.get("reason")
    problem = None if score else reason or "no grader judged it: name one with -g, or in the corpus's conftest.py"
    return _result(prompt, score, problem, ReferenceRun(verdict, reason))


def validate_task(task: Task, oracle: Mapping[str, Any] | None, nop: Mapping[str, Any] | None) -> ValidationResult:
    """Tell what came of a task by its own oracles or tests: its solution must pass, and doing nothing must fail.

    Both are results of sessions, None where there is none.
    """
    prompt = PromptCase(id=task.id, input=task.prompt, reference=task.references[0] if task.references else "")
    found = validate_run(prompt, oracle)
    idle = nop.get("verdict") if nop else "not run"
    if found.passes and idle != "failed":
        problem = f"without a solution (nop) it should have failed, and it was: {idle}"
        return msgspec.structs.replace(found, passes=False, reasoning=UNSET, reason=problem)
    return found


def _text(prompt: PromptCase) -> str:
    if isinstance(prompt.reference, list):
        return prompt.reference[-1] if prompt.reference else ""
    return prompt.reference if isinstance(prompt.reference, str) else ""


def _result(
    prompt: PromptCase, score: GraderResult | None, problem: str | None, run: ReferenceRun | None = None
) -> ValidationResult:
    return ValidationResult(
        id=prompt.id,
        input=prompt.input,
        reference=_text(prompt),
        passed=score.passed if score else UNSET,
        score=score.score if score else UNSET,
        reasoning=score.reasoning if score else UNSET,
        passes=score is not None and score.passed,
        grader_result=score or UNSET,
        reason=problem or UNSET,
        run=run or UNSET,
    )
