"""What oracles and graders say of a session that has stopped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec import to_builtins

from pytest_agentcap.assessment import Evidence, assess
from pytest_agentcap.conversation.session import Conversation
from pytest_agentcap.corpus.task import Task
from pytest_agentcap.formats.eval_rows import Step
from pytest_agentcap.grading.base import GraderError, GraderInput
from pytest_agentcap.grading.bench import SandboxBench
from pytest_agentcap.grading.combine import Graded, run_graders
from pytest_agentcap.grading.truth import Truth
from pytest_agentcap.session_result import Progress
from pytest_agentcap.telemetry.attribution import Started
from pytest_agentcap.turns import Stage


def ask_oracles(
    truth: Truth,
    stage: Stage,
    progress: Progress,
    frozen: Path,
    conversation: Conversation | None,
    programs: tuple[Started, ...],
) -> Graded:
    """Return what the oracles of a task on a repository say; `frozen` is a copy of the workspace."""
    plan, box = stage.plan, stage.box
    evidence = Evidence(
        frozen=frozen,
        changed=progress.patch.names if progress.patch else (),
        conversation=conversation,
        workspace=box.workspace,
        home=box.home,
        offline=plan.options.network == "model",
        programs=programs,
    )
    try:
        return Graded((assess(truth, evidence),))
    except GraderError as error:
        return Graded(error=str(error))


def ask_graders(task: Task, stage: Stage, progress: Progress, frozen: Path, steps: Sequence[Step]) -> Graded:
    """Return what the plan's graders say of a session with a turn; `frozen` is a copy of the workspace."""
    given = GraderInput(
        input=task.prompt if len(task.prompts) == 1 else task.prompts,
        output=progress.turns[-1].reply,
        hint=task.hint,
        metadata=dict(task.metadata),
        cwd=frozen,
        task_id=task.id,
        turns=len(progress.turns),
        trajectory=to_builtins(steps),
        references=task.references,
        changed=progress.patch.names if progress.patch else None,
        bench=_bench(stage, frozen),
        copy_entry=stage.box.copy_entry,
    )
    return run_graders(stage.plan.graders, given)


def _bench(stage: Stage, frozen: Path) -> SandboxBench | None:
    sandbox = stage.around.bench
    return SandboxBench(sandbox, stage.plan.options, frozen, stage.plan.claim.session) if sandbox else None
