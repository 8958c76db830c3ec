"""What is kept of a session: the agent's trace, the patch of its workspace, copies of the workspace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_agentcap.agents.commands import variables_of
from pytest_agentcap.agents.left import export_trace, keep_trace
from pytest_agentcap.agents.templates import Variables
from pytest_agentcap.runs.layout import write_whole
from pytest_agentcap.sandbox.base import Command, SandboxError
from pytest_agentcap.sandbox.patch import Baseline, Patch, make_patch
from pytest_agentcap.turns import Stage

_TRACE_S = 60.0


@dataclass(frozen=True, slots=True)
class Frozen:
    """Hold a copy of a workspace, which the agent cannot reach, and a line for each thing that is not in it."""

    folder: Path
    left_out: Sequence[str]


def freeze_workspace(stage: Stage, turn: int) -> Frozen:
    """Copy the workspace as it is after a turn. Raises SandboxError."""
    folder = stage.around.scratch / f"workspace-{turn}"
    folder.mkdir(parents=True)
    return Frozen(folder, stage.box.copy_out(stage.box.workspace, folder))


def export_own_trace(stage: Stage, session_id: str | None) -> list[str]:
    """Have the log of an agent that keeps it in a database, printed by its own program; return what went wrong.

    The agent must not be stopped yet, and have had a turn.
    """
    trace = stage.plan.agent.trace
    if not trace.export:
        return []
    if session_id is None:
        return ["no trace: the agent has not told its session's name"]
    variables, scratch = _variables(stage, session_id), stage.around.scratch
    command = Command(
        [variables.render(word) for word in trace.export],
        {key: variables.render(value) for key, value in stage.plan.agent.environment.items()},
        None,
        scratch / "trace.out",
        scratch / "trace.err",
        _TRACE_S,
    )
    into = stage.plan.run.trace(stage.plan.claim.session) / trace.name
    try:
        return export_trace(stage.box, command, into, stage.mask)
    except SandboxError as error:
        # The container of an agent that could not be ended otherwise is gone; that is not why the turn failed.
        return [f"no trace: {error}"]


def keep_traces(stage: Stage, session_id: str | None) -> list[str]:
    """Keep what the stopped agent wrote as its own log; return what was left out, a line each."""
    around, variables = stage.around, _variables(stage, session_id)
    patterns = [variables.render(path) for path in stage.plan.agent.trace.paths]
    into = stage.plan.run.trace(stage.plan.claim.session)
    return keep_trace(stage.box, patterns, into, around.scratch, stage.mask, around.earlier)


def keep_patch(stage: Stage, baseline: Baseline, frozen: Frozen) -> Patch:
    """Keep what the session changed in its workspace, without secrets.

    Raises SandboxError when that cannot be told.
    """
    run, name = stage.plan.run, stage.plan.claim.session
    patch = make_patch(baseline, frozen.folder, frozen.left_out)
    run.patch(name).parent.mkdir(exist_ok=True)
    write_whole(run.patch(name), stage.mask.apply(patch.data)[0])
    return patch


def _variables(stage: Stage, session_id: str | None) -> Variables:
    return variables_of(stage.plan.model, stage.box, stage.lease.token, session_id or "")
