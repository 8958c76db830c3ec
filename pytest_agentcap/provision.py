"""What a session's sandbox is filled with before the agent's first turn."""

from __future__ import annotations

from pathlib import PurePosixPath

from pytest_agentcap.agents.commands import agent_files, variables_of
from pytest_agentcap.agents.skills import link_skills
from pytest_agentcap.plan import SessionPlan
from pytest_agentcap.sandbox.base import SandboxSession
from pytest_agentcap.sandbox.patch import Baseline


def provide(plan: SessionPlan, box: SandboxSession, lease: str) -> Baseline:
    """Put in the workspace, skills and the agent's files; return what the workspace's changes are told from.

    Raises SandboxError.
    """
    source = plan.workspace.folder if plan.workspace else None
    added: dict[str, bytes] = {}
    if source:
        box.put_tree(source, box.workspace)
    if plan.options.skills and plan.agent.skills:
        discovery = variables_of(plan.model, box, lease).render(plan.agent.skills)
        own = source is not None and (source / "AGENTS.md").exists()
        added |= link_skills(box, plan.options.skills, discovery, own)
    for path, data in agent_files(plan.agent, plan.model, box, lease):
        box.put(path, data)
        if PurePosixPath(path).is_relative_to(box.workspace):
            added[str(PurePosixPath(path).relative_to(box.workspace))] = data
    return Baseline.of(source, added)
