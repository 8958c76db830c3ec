"""The public fixtures; a corpus overrides any of them in a conftest.py beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_agentcap.corpus.task import Task
from pytest_agentcap.distributed import ASSIGNMENT
from pytest_agentcap.options import SCRIPTED, Settings

if TYPE_CHECKING:
    from pytest_agentcap.agents.spec import AgentSpec
    from pytest_agentcap.debug import Debug
    from pytest_agentcap.followup.base import Drafter, Followup
    from pytest_agentcap.grading.base import Grader
    from pytest_agentcap.proxy.server import CaptureProxy
    from pytest_agentcap.runs.layout import RunDirectory
    from pytest_agentcap.runs.writer import PairWriter
    from pytest_agentcap.sandbox.base import Sandbox, SandboxOptions
    from pytest_agentcap.sandbox.reaper import OwnerState
    from pytest_agentcap.sandbox.shared import Homes
    from pytest_agentcap.sandbox.workspace import Workspace
    from pytest_agentcap.session import AgentSession
    from pytest_agentcap.upstream.scripted import ScriptedModel

GraderFiles = str | Path | Sequence[str | Path] | None
SETTINGS: pytest.StashKey[Settings] = pytest.StashKey()
SESSION: pytest.StashKey[AgentSession] = pytest.StashKey()


@dataclass(slots=True)
class Capturing:
    """Hold what runs once in a worker: proxy, pair writer, and the scripted model if that is the upstream."""

    proxy: CaptureProxy
    pairs: PairWriter
    scripted: ScriptedModel | None
    secrets: tuple[str, ...]


@pytest.fixture(scope="session")
def agent(request: pytest.FixtureRequest) -> AgentSpec:
    """The agent under test, read from its agent.toml."""
    from pytest_agentcap.agents.find import find_agent

    return find_agent(_parameter(request), request.config.rootpath)


@pytest.fixture(scope="session")
def model(request: pytest.FixtureRequest) -> str:
    """The id of the model that the agent asks for."""
    return _parameter(request)


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
    """The corpus's own grader or graders: files that define `grade`, or executables. --grader adds to them."""
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


@pytest.fixture(scope="session")
def _homes(pytestconfig: pytest.Config, capture_proxy: CaptureProxy) -> Iterator[Homes]:
    """The shared homes of this worker; they are closed before the proxy that serves them."""
    from pytest_agentcap.sandbox.shared import Homes

    homes = Homes(pytestconfig.stash[ASSIGNMENT].state.folder)
    yield homes
    homes.close()


@pytest.fixture(scope="session")
def _capturing(pytestconfig: pytest.Config) -> Iterator[Capturing]:
    from pytest_agentcap.credentials import find_key, secret_values
    from pytest_agentcap.proxy.apis import Upstream
    from pytest_agentcap.proxy.server import CaptureProxy
    from pytest_agentcap.runs.writer import PairWriter
    from pytest_agentcap.upstream.scripted import ScriptedModel

    settings = pytestconfig.stash[SETTINGS]
    key = find_key(settings.upstream, settings.api_key)
    with ExitStack() as stack:
        scripted = None
        if settings.upstream == SCRIPTED:
            scripted = stack.enter_context(ScriptedModel.start(settings.models[0]))
        upstream = Upstream(scripted.url if scripted else str(settings.upstream), key.value if key else None)
        secrets = secret_values(settings, key)
        pairs = PairWriter(secrets)
        stack.callback(pairs.close)
        proxy = CaptureProxy(upstream, recorded_as=str(settings.upstream))
        stack.callback(proxy.close)
        yield Capturing(proxy, pairs, scripted, secrets)


@pytest.fixture(scope="session")
def capture_proxy(_capturing: Capturing) -> CaptureProxy:
    """The proxy that this worker's agents call through."""
    return _capturing.proxy


@pytest.fixture(scope="session")
def capture_run(pytestconfig: pytest.Config, agent: AgentSpec, model: str) -> RunDirectory:
    """The run directory that captures of this agent and model go to."""
    return pytestconfig.stash[ASSIGNMENT].run(agent.folder, model)


@pytest.fixture(scope="session")
def agent_sandbox(pytestconfig: pytest.Config, agent: AgentSpec) -> Sandbox:
    """The agent's sandbox; every session starts its own container or temporary home from it."""
    from pytest_agentcap.sandbox.choose import make_sandbox

    assignment = pytestconfig.stash[ASSIGNMENT]
    return make_sandbox(
        pytestconfig.stash[SETTINGS].sandbox,
        agent=agent.name,
        executable=agent.executable,
        image_folder=agent.folder,
        podman_uri=assignment.podman_uri,
        state=assignment.state,
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
    trial: int,
    turns: int,
    followup: Followup | Drafter,
    grader: GraderFiles,
    workspace_source: Path | str | None,
    sandbox_options: SandboxOptions,
    shared_home: bool,
    _homes: Homes,
    tmp_path: Path,
) -> Iterator[AgentSession]:
    """A session of the agent in a fresh home and workspace; it is ended and removed whatever the test does."""
    from pytest_agentcap.live import LiveStatus
    from pytest_agentcap.plan import SessionPlan, Surroundings
    from pytest_agentcap.session import AgentSession

    config, node = request.config, request.node
    settings, state = config.stash[SETTINGS], config.stash[ASSIGNMENT].state
    task = _task_of(request)
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
        graders=_load_graders(grader, settings, request),
        secrets=_capturing.secrets,
        workspace=_workspace_of(workspace_source, state, request),
        options=sandbox_options,
        label=settings.label,
    )
    live = LiveStatus(state.folder)
    around = Surroundings(agent_sandbox, capture_proxy, _capturing.pairs, _capturing.scripted, tmp_path, live.show)
    if shared_home:
        module = node.getparent(pytest.Module)
        home = _homes.find(agent_sandbox, f"{capture_run.path}\n{module.nodeid if module else ''}", trial)
        around = replace(around, sandbox=home, earlier=home.earlier)
    around.debug = _debug(config)
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


def _debug(config: pytest.Config) -> Debug | None:
    from pytest_agentcap.credentials import find_key, known_secrets
    from pytest_agentcap.debug import SCREEN, Debug

    settings = config.stash[SETTINGS]
    if not settings.debug:
        return None
    return Debug(config.stash[SCREEN], known_secrets(find_key(settings.upstream, settings.api_key)))


def _task_of(request: pytest.FixtureRequest) -> Task:
    """Return the test's task; a test without one is named after itself."""
    if "task" in request.fixturenames:
        task: Task = request.getfixturevalue("task")
        return task
    path = request.node.path
    line = request.node.location[1]
    name = request.node.originalname
    return Task(name, (name,), path.parent.name, (line or 0) + 1, f"{path.name}:{(line or 0) + 1}")


def _workspace_of(source: Path | str | None, state: OwnerState, request: pytest.FixtureRequest) -> Workspace | None:
    from pytest_agentcap.sandbox.base import SandboxError
    from pytest_agentcap.sandbox.workspace import prepare_workspace

    try:
        return None if source is None else prepare_workspace(source, state, request.config.invocation_params.dir)
    except (SandboxError, OSError) as error:
        pytest.fail(str(error), pytrace=False)


def _load_graders(own: GraderFiles, settings: Settings, request: pytest.FixtureRequest) -> tuple[Grader, ...]:
    from pytest_agentcap.grading.base import GraderError
    from pytest_agentcap.grading.find import load_grader

    beside = [own] if isinstance(own, str | Path) else list(own or ())
    try:
        return tuple(
            [load_grader(value, base=request.node.path.parent) for value in beside]
            + [load_grader(value, base=request.config.invocation_params.dir) for value in settings.graders]
        )
    except GraderError as error:
        pytest.fail(str(error), pytrace=False)


def _parameter(request: pytest.FixtureRequest) -> str:
    """Return what the matrix chose; tests outside of it are skipped, not broken."""
    if not hasattr(request, "param"):
        pytest.skip("an agent is needed: pass --agent NAME")
    return str(request.param)
