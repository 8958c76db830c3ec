"""What a test's fixtures, markers and settings come to: the parts of a session's plan and surroundings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from pytest_agentcap.agents.spec import AgentSpec
from pytest_agentcap.corpus.task import Task
from pytest_agentcap.credentials import keys_of, known_secrets
from pytest_agentcap.debug import SCREEN, Debug
from pytest_agentcap.distributed import ASSIGNMENT
from pytest_agentcap.grading.base import Grader, GraderError
from pytest_agentcap.grading.find import load_graders
from pytest_agentcap.grading.verifier import VerifierGrader
from pytest_agentcap.joining import Standing
from pytest_agentcap.judging import toolbox_of
from pytest_agentcap.limits import NOT_STARTED
from pytest_agentcap.pins import grader_hashes
from pytest_agentcap.plan import SessionPlan
from pytest_agentcap.replay.form import Rules
from pytest_agentcap.replay.matcher import Identity
from pytest_agentcap.replay.replay import Replay, ReplayFor
from pytest_agentcap.sandbox.base import Sandbox, SandboxError, SandboxOptions
from pytest_agentcap.sandbox.reaper import OwnerState
from pytest_agentcap.sandbox.task_image import TaskSandbox, task_sandbox
from pytest_agentcap.sandbox.workspace import Repository, Workspace, prepare_repository, prepare_workspace
from pytest_agentcap.settings import Settings

GraderValue = str | Path | Mapping[str, Any]
GraderFiles = GraderValue | Sequence[GraderValue] | None


def task_of(request: pytest.FixtureRequest) -> Task:
    """Return the test's task; a test without one is named after itself."""
    if "task" in request.fixturenames:
        task: Task = request.getfixturevalue("task")
        return task
    path = request.node.path
    line = request.node.location[1]
    name = request.node.originalname
    return Task(name, (name,), path.parent.name, (line or 0) + 1, f"{path.name}:{(line or 0) + 1}")


def not_started(node: pytest.Item, reason: str) -> NoReturn:
    """Skip a test whose session is not to begin now; unlike one that pytest skips, its run still expects it."""
    node.user_properties.append((NOT_STARTED, reason))
    pytest.skip(f"not started: {reason}")


def workspace_of(
    source: Path | str | None, task: Task, state: OwnerState, request: pytest.FixtureRequest
) -> Workspace | None:
    """Prepare what the session's working directory is a copy of; the test fails with one line when it cannot be."""
    try:
        if task.repo:
            # Its oracles are about this repository and no other.
            named = task.repo.repository
            return prepare_repository(Repository(named.location, named.ref), state)
        return None if source is None else prepare_workspace(source, state, request.config.invocation_params.dir)
    except (SandboxError, OSError) as error:
        reason = str(error)
    # Outside of the handler: pytest shows what an exception was raised from.
    pytest.fail(reason, pytrace=False)


def sandbox_for(
    task: Task, agent: AgentSpec, sandbox: Sandbox, settings: Settings, request: pytest.FixtureRequest
) -> Sandbox:
    """Return the sandbox of a task that brings its own image, else the agent's."""
    if task.harbor is None:
        return sandbox
    assignment = request.config.stash[ASSIGNMENT]
    try:
        return task_sandbox(
            task.harbor, settings.sandbox, agent.name, agent.folder, assignment.podman_uri, assignment.state
        )
    except SandboxError as error:
        reason = str(error)
    pytest.fail(reason, pytrace=False)


def graders_for(own: GraderFiles, settings: Settings, request: pytest.FixtureRequest) -> tuple[Grader, ...]:
    """Load the corpus's own graders and those of --grader; the test fails with one line when one cannot be."""
    try:
        tools = toolbox_of(settings)
        return (
            *load_graders(_listed(own), base=request.node.path.parent, tools=tools),
            *load_graders(settings.graders, base=request.config.invocation_params.dir, tools=tools),
        )
    except GraderError as error:
        reason = str(error)
    pytest.fail(reason, pytrace=False)


def options_for(task: Task, options: SandboxOptions) -> SandboxOptions:
    """Return what a task's agent may use; one that is to have no internet has none, whatever the options say."""
    return replace(options, network="model") if task.harbor and not task.harbor.allow_internet else options


def verifier_for(task: Task, sandbox: Sandbox, options: SandboxOptions, log: Path) -> tuple[Grader, ...]:
    """Return the verifier that a Harbor task brings, with the network that it may use; `log` is for its output."""
    if task.harbor is None:
        return ()
    allowed = options if task.harbor.verifier_internet else replace(options, network="model")
    place = sandbox.verifier if isinstance(sandbox, TaskSandbox) else sandbox
    return (VerifierGrader(task.harbor, place, allowed, log),)


def hashes_of(own: GraderFiles, state: OwnerState, request: pytest.FixtureRequest) -> dict[str, str]:
    """Return the hashes of the corpus's own graders; others than a run's earlier ones are refused."""
    hashes = grader_hashes(_listed(own), request.node.path.parent)
    if changed := Standing.read(state.folder).changed_grader(hashes):
        pytest.fail(changed, pytrace=False)
    return hashes


def replay_for(plan: SessionPlan, replay: Replay | None, rules: Rules) -> ReplayFor | None:
    """Return what of a recording the session may be answered with."""
    if replay is None:
        return None
    identity = Identity(plan.task.id, plan.trial, plan.agent.name, plan.task.corpus, plan.model)
    return ReplayFor(replay, identity, rules)


def debug_of(settings: Settings, config: pytest.Config) -> Debug | None:
    """Return what shows the agent's commands and output, if --agentcap-debug asks for it."""
    return Debug(config.stash[SCREEN], known_secrets(*keys_of(settings))) if settings.debug else None


def _listed(own: GraderFiles) -> list[GraderValue]:
    return [own] if isinstance(own, str | Path | Mapping) else list(own or ())
