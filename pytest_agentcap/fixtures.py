"""The public fixtures; a corpus overrides any of them in a conftest.py beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_agentcap.corpus.task import Task
from pytest_agentcap.distributed import ASSIGNMENT
from pytest_agentcap.settings import Settings
from pytest_agentcap.targets import ModelTarget

if TYPE_CHECKING:
    from pytest_agentcap.agents.spec import AgentSpec
    from pytest_agentcap.capturing import Capturing
    from pytest_agentcap.followup.base import Drafter, Followup
    from pytest_agentcap.preparing import GraderFiles
    from pytest_agentcap.proxy.server import CaptureProxy
    from pytest_agentcap.replay.form import Rules
    from pytest_agentcap.runs.layout import RunDirectory
    from pytest_agentcap.sandbox.base import Sandbox, SandboxOptions
    from pytest_agentcap.sandbox.shared import Homes
    from pytest_agentcap.session import AgentSession

SETTINGS: pytest.StashKey[Settings] = pytest.StashKey()
SESSION: pytest.StashKey[AgentSession] = pytest.StashKey()


@pytest.fixture(scope="session")
def agent(request: pytest.FixtureRequest) -> AgentSpec:
    """The agent under test, read from its agent.toml."""
    from pytest_agentcap.agents.find import chosen_agent

    return chosen_agent(str(_parameter(request)), request.config.stash[SETTINGS], request.config.rootpath)


@pytest.fixture(scope="session")
def _target(request: pytest.FixtureRequest) -> ModelTarget:
    """The model and its server; tests outside of the matrix get the first."""
    target: ModelTarget = getattr(request, "param", request.config.stash[SETTINGS].targets[0])
    return target


@pytest.fixture(scope="session")
def model(_target: ModelTarget) -> str:
    """The id of the model that the agent asks for."""
    return _target.id


@pytest.fixture
def task() -> Task:
    """The corpus entry; parametrized for tests beside a corpus and for tests marked with one."""
    pytest.skip("a corpus is run by an agent: pass --agent NAME")


@pytest.fixture
def trial(request: pytest.FixtureRequest) -> int:
    """Which repetition of the task this is, from 1 on."""
    return int(getattr(request, "param", 1))


@pytest.fixture
def turns(pytestconfig: pytest.Config) -> int:
    """How many turns a session has; a task with more scripted prompts has as many."""
    return pytestconfig.stash[SETTINGS].turns


@pytest.fixture
def followup(request: pytest.FixtureRequest) -> Followup | Drafter:
    """What is said after the prompts of the task."""
    from pytest_agentcap.followup.base import followup_named
    from pytest_agentcap.followup.synthesized import Synthesizer

    name = request.config.stash[SETTINGS].followup
    if name != "synthesized":
        return followup_named(name)
    upstream = request.getfixturevalue("capture_proxy").upstream
    return Synthesizer(upstream, request.getfixturevalue("model"), request.getfixturevalue("agent").api)


@pytest.fixture
def grader() -> GraderFiles:
    """The corpus's own grader or graders: files, built-in ones by name, or {name: argument}. --grader adds to them."""
    return None


@pytest.fixture
def workspace_source(pytestconfig: pytest.Config) -> Path | str | None:
    """What the session's working directory is a copy of: a folder, or REPOSITORY@REF of git; None for an empty one."""
    return pytestconfig.stash[SETTINGS].workspace


@pytest.fixture
def sandbox_options(pytestconfig: pytest.Config) -> SandboxOptions:
    """What the agent's sandbox may use."""
    from pytest_agentcap.plan import sandbox_options_of

    return sandbox_options_of(pytestconfig.stash[SETTINGS])


@pytest.fixture
def shared_home() -> bool:
    """Whether the tasks of this corpus share one home, in their order; else each has a fresh one."""
    return False


@pytest.fixture
def replay_rules(pytestconfig: pytest.Config) -> Rules:
    """What of a request does not count, beside what never does, when it is looked for in a recording."""
    from pytest_agentcap.replay.form import Rules

    return Rules().ignoring(*pytestconfig.stash[SETTINGS].replay.ignore)


@pytest.fixture(scope="session")
def _homes(pytestconfig: pytest.Config, capture_proxy: CaptureProxy) -> Iterator[Homes]:
    """The shared homes of this worker; they are closed before the proxy that serves them."""
    from pytest_agentcap.sandbox.shared import Homes

    homes = Homes(pytestconfig.stash[ASSIGNMENT].state.folder)
    yield homes
    homes.close()


@pytest.fixture(scope="session")
def _capturing(pytestconfig: pytest.Config) -> Iterator[Capturing]:
    from pytest_agentcap.capturing import Capturing
    from pytest_agentcap.credentials import keys_of, secret_values
    from pytest_agentcap.runs.writer import PairWriter

    settings = pytestconfig.stash[SETTINGS]
    secrets = secret_values(settings, *keys_of(settings))
    with ExitStack() as stack:
        pairs = PairWriter(secrets)
        stack.callback(pairs.close)
        yield Capturing(settings, pairs, stack, secrets, pytestconfig.stash[ASSIGNMENT].state.folder)


@pytest.fixture(scope="session")
def capture_proxy(_capturing: Capturing, _target: ModelTarget) -> CaptureProxy:
    """The proxy that this worker's agents call through."""
    return _capturing.proxy(_target)


@pytest.fixture(scope="session")
def capture_run(pytestconfig: pytest.Config, agent: AgentSpec, _target: ModelTarget) -> RunDirectory:
    """The run directory that captures of this agent and model go to."""
    return pytestconfig.stash[ASSIGNMENT].run(agent.key, _target.key)


@pytest.fixture(scope="session")
def agent_sandbox(pytestconfig: pytest.Config, agent: AgentSpec) -> Sandbox:
    """The agent's sandbox; every session starts its own container or temporary home from it."""
    from pytest_agentcap.sandbox.choose import make_sandbox

    assignment, settings = pytestconfig.stash[ASSIGNMENT], pytestconfig.stash[SETTINGS]
    return make_sandbox(
        settings.sandbox,
        agent=agent.name,
        executable=agent.executable,
        image_folder=agent.folder,
        podman_uri=assignment.podman_uri,
        state=assignment.state,
        inherits=settings.bypass,
    )


@pytest.fixture
def agent_session(
    request: pytest.FixtureRequest,
    agent: AgentSpec,
    model: str,
    agent_sandbox: Sandbox,
    capture_proxy: CaptureProxy,
    capture_run: RunDirectory,
    _capturing: Capturing,
    _target: ModelTarget,
    trial: int,
    turns: int,
    followup: Followup | Drafter,
    grader: GraderFiles,
    workspace_source: Path | str | None,
    sandbox_options: SandboxOptions,
    replay_rules: Rules,
    shared_home: bool,
    _homes: Homes,
    tmp_path: Path,
) -> Iterator[AgentSession]:
    """A session of the agent in a fresh home and workspace; it is ended and removed whatever the test does."""
    from pytest_agentcap import preparing
    from pytest_agentcap.budget import Budget, ledger_of
    from pytest_agentcap.live import LiveStatus
    from pytest_agentcap.plan import SessionPlan, Surroundings
    from pytest_agentcap.results_file import keep_row
    from pytest_agentcap.sandbox.reaper import is_orphaned
    from pytest_agentcap.session import AgentSession

    config, node = request.config, request.node
    settings, state = config.stash[SETTINGS], config.stash[ASSIGNMENT].state
    if is_orphaned(state.folder):
        preparing.not_started(node, "the pytest process that it would run for is ending")
    task = preparing.task_of(request)
    sandbox = preparing.sandbox_for(task, agent, agent_sandbox, settings, request)
    plan = SessionPlan(
        agent=agent,
        model=model,
        run=capture_run,
        nodeid=node.nodeid,
        task=task,
        trial=trial,
        sandbox=settings.sandbox,
        turns=turns,
        followup=followup,
        turn_timeout_s=settings.turn_timeout_s,
        graders=(
            *preparing.graders_for(grader, settings, request),
            *preparing.verifier_for(task, sandbox, sandbox_options, tmp_path / "verifier.log"),
        ),
        secrets=_capturing.secrets,
        workspace=preparing.workspace_of(workspace_source, task, state, request),
        options=preparing.options_for(task, sandbox_options),
        label=_target.label or settings.label,
        grader_hashes=preparing.hashes_of(grader, state, request),
        bypass=settings.bypass,
    )
    ledger = ledger_of(state.folder, capture_run, settings.run_limits)
    if ledger and (exhausted := ledger.exhausted()):
        preparing.not_started(node, exhausted)
    live = LiveStatus(state.folder)
    scripted = _capturing.scripted(_target)
    around = Surroundings(sandbox, capture_proxy, _capturing.pairs, scripted, tmp_path, live.show)
    around.bench = agent_sandbox
    if shared_home:
        module = node.getparent(pytest.Module)
        home = _homes.find(agent_sandbox, f"{capture_run.path}\n{module.nodeid if module else ''}", trial)
        around = replace(around, sandbox=home, earlier=home.earlier)
    around.debug, around.state = preparing.debug_of(settings, config), state.folder
    around.replay = preparing.replay_for(plan, _capturing.replay(_target), replay_rules)
    around.budget = Budget(settings.limits, ledger, settings.prices, capture_run.captures, model)
    try:
        session = AgentSession(plan.claimed(), around)
    except OSError as error:
        pytest.fail(f"{plan.run.path} cannot be written: {error.strerror}: free some space", pytrace=False)
    node.stash[SESSION] = session
    try:
        yield session
    finally:
        session.close()
        live.clear()
        if settings.results:
            keep_row(state.folder, plan.run, session)


def _parameter(request: pytest.FixtureRequest) -> object:
    """Return what the matrix chose; tests outside of it are skipped, not broken."""
    if not hasattr(request, "param"):
        pytest.skip("an agent is needed: pass --agent NAME")
    return request.param
