"""The public fixtures; a corpus overrides any of them in a conftest.py beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_agentcap.corpus.task import Task
from pytest_agentcap.distributed import ASSIGNMENT
from pytest_agentcap.option_values import SCRIPTED
from pytest_agentcap.replay.settings import replayed_source
from pytest_agentcap.settings import Settings
from pytest_agentcap.targets import ModelTarget

if TYPE_CHECKING:
    from pytest_agentcap.agents.spec import AgentSpec
    from pytest_agentcap.credentials import Key
    from pytest_agentcap.debug import Debug
    from pytest_agentcap.followup.base import Drafter, Followup
    from pytest_agentcap.grading.base import Grader
    from pytest_agentcap.plan import SessionPlan
    from pytest_agentcap.proxy.ratelimit import RateLimit
    from pytest_agentcap.proxy.server import CaptureProxy
    from pytest_agentcap.replay.form import Rules
    from pytest_agentcap.replay.replay import Replay, ReplayFor
    from pytest_agentcap.runs.layout import RunDirectory
    from pytest_agentcap.runs.writer import PairWriter
    from pytest_agentcap.sandbox.base import Sandbox, SandboxOptions
    from pytest_agentcap.sandbox.reaper import OwnerState
    from pytest_agentcap.sandbox.shared import Homes
    from pytest_agentcap.sandbox.workspace import Workspace
    from pytest_agentcap.session import AgentSession
    from pytest_agentcap.upstream.scripted import ScriptedModel

GraderValue = str | Path | Mapping[str, Any]
GraderFiles = GraderValue | Sequence[GraderValue] | None
SETTINGS: pytest.StashKey[Settings] = pytest.StashKey()
SESSION: pytest.StashKey[AgentSession] = pytest.StashKey()
# Where a strict replay's requests would go; nothing is ever sent there.
_NOWHERE = "http://replay.invalid"


@dataclass(slots=True)
class Capturing:
    """Hold what runs once in a worker: the pair writer, a proxy for each upstream, the scripted model, recordings.

    Proxies and model are started, and recordings opened, when the first session needs them, and closed by `stack`.
    """

    settings: Settings
    pairs: PairWriter
    stack: ExitStack
    secrets: tuple[str, ...]
    state: Path
    proxies: dict[tuple[str, Key | None], CaptureProxy] = field(default_factory=dict)
    model: ScriptedModel | None = None
    replays: dict[str, Replay] = field(default_factory=dict)

    def replay(self, target: ModelTarget) -> Replay | None:
        """Return the recording if that is what the target's upstream serves.

        Raises RecordingError.
        """
        from pytest_agentcap.replay.replay import Replay
        from pytest_agentcap.runs.layout import workspace_folder

        source = replayed_source(target.upstream)
        if source is None:
            return None
        if source not in self.replays:
            self.replays[source] = Replay.of(source, workspace_folder(), self.settings.replay)
        return self.replays[source]

    def scripted(self, target: ModelTarget) -> ScriptedModel | None:
        """Return the scripted model if that is the target's upstream."""
        from pytest_agentcap.upstream.scripted import ScriptedModel

        if target.upstream == SCRIPTED and self.model is None:
            self.model = self.stack.enter_context(ScriptedModel.start(target.id))
        return self.model if target.upstream == SCRIPTED else None

    def _rate_limit(self, target: ModelTarget, key: Key | None) -> RateLimit:
        """Return what all workers share of an upstream and a key."""
        from pytest_agentcap.proxy.ratelimit import RateLimit

        name = hashlib.sha256(f"{target.upstream}\n{key.value if key else ''}".encode()).hexdigest()[:16]
        limit = RateLimit(self.state / f"upstream-{name}", self.settings.upstream_concurrency)
        self.stack.callback(limit.close)
        return limit

    def proxy(self, target: ModelTarget) -> CaptureProxy:
        from pytest_agentcap.credentials import key_of
        from pytest_agentcap.proxy.apis import Upstream
        from pytest_agentcap.proxy.server import CaptureProxy

        key = key_of(target, self.settings)
        if (target.upstream, key) not in self.proxies:
            scripted, replay = self.scripted(target), self.replay(target)
            url = scripted.url if scripted else target.upstream
            if replay:
                url = self.settings.replay.upstream or _NOWHERE
            upstream = Upstream(url, key.value if key else None)
            if replay:
                proxy = CaptureProxy(upstream, recorded_as=target.upstream, transport=replay.transport)
            else:
                proxy = CaptureProxy(upstream, target.upstream, limit=self._rate_limit(target, key))
            self.stack.callback(proxy.close)
            self.proxies[target.upstream, key] = proxy
        return self.proxies[target.upstream, key]


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
    from pytest_agentcap.budget import Budget, ledger_of
    from pytest_agentcap.live import LiveStatus
    from pytest_agentcap.plan import SessionPlan, Surroundings
    from pytest_agentcap.results_file import keep_row
    from pytest_agentcap.session import AgentSession

    config, node = request.config, request.node
    settings, state = config.stash[SETTINGS], config.stash[ASSIGNMENT].state
    task = _task_of(request)
    sandbox = _sandbox_for(task, agent, agent_sandbox, request)
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
        workspace=_workspace_of(workspace_source, task, state, request),
        options=sandbox_options,
        label=_target.label or settings.label,
        grader_hashes=_grader_hashes(grader, state, request),
        bypass=settings.bypass,
    )
    ledger = ledger_of(state.folder, capture_run, settings.run_limits)
    if ledger and (exhausted := ledger.exhausted()):
        pytest.skip(f"not started: {exhausted}")
    live = LiveStatus(state.folder)
    scripted = _capturing.scripted(_target)
    if task.harbor:
        from pytest_agentcap.grading.verifier import VerifierGrader

        verifier = VerifierGrader(task.harbor, sandbox, sandbox_options, tmp_path / "verifier.log")
        plan = replace(plan, graders=(*plan.graders, verifier))
    around = Surroundings(sandbox, capture_proxy, _capturing.pairs, scripted, tmp_path, live.show)
    around.bench = agent_sandbox
    if shared_home:
        module = node.getparent(pytest.Module)
        home = _homes.find(agent_sandbox, f"{capture_run.path}\n{module.nodeid if module else ''}", trial)
        around = replace(around, sandbox=home, earlier=home.earlier)
    around.debug, around.state = _debug(config), state.folder
    around.replay = _replay_for(plan, _capturing.replay(_target), replay_rules)
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


def _replay_for(plan: SessionPlan, replay: Replay | None, rules: Rules) -> ReplayFor | None:
    from pytest_agentcap.replay.matcher import Identity
    from pytest_agentcap.replay.replay import ReplayFor

    if replay is None:
        return None
    identity = Identity(plan.task.id, plan.trial, plan.agent.name, plan.task.corpus, plan.model)
    return ReplayFor(replay, identity, rules)


def _debug(config: pytest.Config) -> Debug | None:
    from pytest_agentcap.credentials import keys_of, known_secrets
    from pytest_agentcap.debug import SCREEN, Debug

    settings = config.stash[SETTINGS]
    if not settings.debug:
        return None
    return Debug(config.stash[SCREEN], known_secrets(*keys_of(settings)))


def _task_of(request: pytest.FixtureRequest) -> Task:
    """Return the test's task; a test without one is named after itself."""
    if "task" in request.fixturenames:
        task: Task = request.getfixturevalue("task")
        return task
    path = request.node.path
    line = request.node.location[1]
    name = request.node.originalname
    return Task(name, (name,), path.parent.name, (line or 0) + 1, f"{path.name}:{(line or 0) + 1}")


def _workspace_of(
    source: Path | str | None, task: Task, state: OwnerState, request: pytest.FixtureRequest
) -> Workspace | None:
    from pytest_agentcap.sandbox.base import SandboxError
    from pytest_agentcap.sandbox.workspace import Repository, prepare_repository, prepare_workspace

    try:
        if task.repo:
            # Its oracles are about this repository and no other.
            named = task.repo.repository
            return prepare_repository(Repository(named.location, named.ref), state)
        return None if source is None else prepare_workspace(source, state, request.config.invocation_params.dir)
    except (SandboxError, OSError) as error:
        pytest.fail(str(error), pytrace=False)


def _grader_hashes(own: GraderFiles, state: OwnerState, request: pytest.FixtureRequest) -> dict[str, str]:
    """Return the hashes of the corpus's own graders; others than a run's earlier ones are refused."""
    from pytest_agentcap.joining import Standing
    from pytest_agentcap.pins import grader_hashes

    hashes = grader_hashes(_listed(own), request.node.path.parent)
    if changed := Standing.read(state.folder).changed_grader(hashes):
        pytest.fail(changed, pytrace=False)
    return hashes


def _listed(own: GraderFiles) -> list[GraderValue]:
    return [own] if isinstance(own, str | Path | Mapping) else list(own or ())


def _sandbox_for(task: Task, agent: AgentSpec, sandbox: Sandbox, request: pytest.FixtureRequest) -> Sandbox:
    """Return the sandbox of a task that brings its own image, else the agent's."""
    if task.harbor is None:
        return sandbox
    from pytest_agentcap.sandbox.base import SandboxError
    from pytest_agentcap.sandbox.task_image import task_sandbox

    assignment, settings = request.config.stash[ASSIGNMENT], request.config.stash[SETTINGS]
    try:
        return task_sandbox(
            task.harbor, settings.sandbox, agent.name, agent.folder, assignment.podman_uri, assignment.state
        )
    except SandboxError as error:
        pytest.fail(str(error), pytrace=False)


def _load_graders(own: GraderFiles, settings: Settings, request: pytest.FixtureRequest) -> tuple[Grader, ...]:
    from pytest_agentcap.grading.base import GraderError
    from pytest_agentcap.grading.find import load_graders
    from pytest_agentcap.judging import toolbox_of

    try:
        tools = toolbox_of(settings)
        return (
            *load_graders(_listed(own), base=request.node.path.parent, tools=tools),
            *load_graders(settings.graders, base=request.config.invocation_params.dir, tools=tools),
        )
    except GraderError as error:
        pytest.fail(str(error), pytrace=False)


def _parameter(request: pytest.FixtureRequest) -> object:
    """Return what the matrix chose; tests outside of it are skipped, not broken."""
    if not hasattr(request, "param"):
        pytest.skip("an agent is needed: pass --agent NAME")
    return request.param
