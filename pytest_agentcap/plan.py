"""What a session is made of before it starts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_agentcap.corpus.task import Task
from pytest_agentcap.grading.base import Grader
from pytest_agentcap.runs.claims import UNCLAIMED, Claim, possible_claims
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.masking import Mask
from pytest_agentcap.runs.results import SessionResult, create_result, masked
from pytest_agentcap.runs.writer import PairWriter
from pytest_agentcap.sandbox.base import Sandbox, SandboxOptions
from pytest_agentcap.sandbox.tree_digest import tree_digest

if TYPE_CHECKING:
    from pytest_agentcap.agents.spec import AgentSpec
    from pytest_agentcap.budget import Budget
    from pytest_agentcap.debug import Debug
    from pytest_agentcap.followup.base import Drafter, Followup
    from pytest_agentcap.proxy.server import CaptureProxy
    from pytest_agentcap.replay.replay import ReplayFor
    from pytest_agentcap.sandbox.workspace import Workspace
    from pytest_agentcap.session import AgentSession
    from pytest_agentcap.settings import Settings
    from pytest_agentcap.upstream.scripted import ScriptedModel

DEFAULT_TURN_TIMEOUT_S = 1200.0


def sandbox_options_of(settings: Settings) -> SandboxOptions:
    """Return what a sandbox may use when no corpus says otherwise."""
    return SandboxOptions(
        network=settings.network,
        memory=settings.memory,
        pids=settings.pids,
        cpus=settings.cpus,
        disk=settings.disk,
        skills=settings.skills,
        tools=settings.tool_dir,
    )


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """Hold what is fixed before a session starts."""

    agent: AgentSpec
    model: str
    run: RunDirectory
    nodeid: str
    task: Task
    trial: int
    sandbox: str
    turns: int
    followup: Followup | Drafter
    turn_timeout_s: float | None
    graders: Sequence[Grader]
    secrets: tuple[str, ...]
    workspace: Workspace | None
    options: SandboxOptions
    label: str | None
    grader_hashes: Mapping[str, str] = field(default_factory=dict)
    claim: Claim = UNCLAIMED
    bypass: bool = False

    @property
    def mask(self) -> Mask:
        """Return what is replaced in what is kept of the session."""
        return Mask.of(self.secrets)

    def claimed(self) -> SessionPlan:
        """Return the plan under a name that no other session of the run has; its result file is there from now on."""
        for claim in possible_claims(self.run, self.task.id, self.trial, self.nodeid):
            plan = replace(self, claim=claim)
            planned = SessionResult(**plan.identity(), started_at=round(time.time(), 3))
            if create_result(self.run, masked(planned, self.mask)):
                return plan
        raise AssertionError("claims never end")

    def head(self) -> dict[str, Any]:
        """Return what every capture of the session says about it."""
        return {
            "task_id": self.task.id,
            "session": self.claim.session,
            "corpus": self.task.corpus,
            "trial": self.trial,
            "attempt": self.claim.attempt,
            "agent": self.agent.name,
            "label": self.label,
        }

    def identity(self) -> dict[str, Any]:
        """Return what the session's result says of what was planned."""
        return {
            "session": self.claim.session,
            "task_id": self.task.id,
            "index": self.task.index,
            "corpus": self.task.corpus,
            "source": self.task.source,
            "trial": self.trial,
            "attempt": self.claim.attempt,
            "agent": self.agent.name,
            "agent_version": self.agent.version,
            "model": self.model,
            "sandbox": self.sandbox,
            "network": self.options.network if self.sandbox == "podman" else None,
            "workspace": self.workspace.source if self.workspace else None,
            "workspace_commit": self.workspace.commit if self.workspace else None,
            "turns_planned": max(len(self.task.prompts), self.turns),
            "nodeid": self.nodeid,
            "prompt": self.task.prompt,
            "hint": self.task.hint,
            "images": tuple(image.facts for image in self.task.images),
            "metadata": dict(self.task.metadata),
            "corpus_hash": self.task.corpus_hash,
            "grader_hashes": dict(self.grader_hashes),
            "fixtures": {path: _digest(folder) for path, folder in self.options.data.items()},
        }

    def timeout_s(self, task: Task) -> float:
        """Return seconds per turn: the option, else the task's own, else the agent's, else 1200."""
        return self.turn_timeout_s or task.timeout_s or self.agent.timeout_s or DEFAULT_TURN_TIMEOUT_S


def _digest(folder: Path) -> str | None:
    try:
        return tree_digest(folder)
    except OSError:
        # A folder that is not there is told by the sandbox, which cannot be started with it.
        return None


@dataclass(slots=True)
class Surroundings:
    """Hold what a session is run with; all of it outlives the session.

    `earlier` is what earlier sessions left in the same home, see `SharedHome`. `bench` is what graders start sandboxes
    of their own from. `state` is the owner's folder.
    """

    sandbox: Sandbox
    proxy: CaptureProxy
    pairs: PairWriter
    scripted: ScriptedModel | None
    scratch: Path
    on_change: Callable[[AgentSession], None]
    earlier: set[tuple[str, str]] = field(default_factory=set)
    debug: Debug | None = None
    bench: Sandbox | None = None
    replay: ReplayFor | None = None
    state: Path | None = None
    budget: Budget | None = None
