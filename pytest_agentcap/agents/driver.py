"""The seam between a session and the different ways in which agents are driven through their turns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pytest_agentcap.agents.commands import turn_command, variables_of
from pytest_agentcap.agents.left import last_name, read_file
from pytest_agentcap.agents.output import read_reply, read_session_id
from pytest_agentcap.agents.spec import AgentSpec
from pytest_agentcap.agents.steps import Step
from pytest_agentcap.agents.templates import Variables
from pytest_agentcap.sandbox.base import Command, Completed, SandboxSession

OUTPUT_READ = 16 << 20


@dataclass(frozen=True, slots=True)
class Scene:
    """Hold what an agent of one session is driven with; `earlier` is what other sessions left in the same home.

    `images` are the paths in the sandbox of what the first prompt brings.
    """

    agent: AgentSpec
    model: str
    box: SandboxSession
    lease: str
    scratch: Path
    earlier: set[tuple[str, str]] = field(default_factory=set)
    images: tuple[str, ...] = ()

    def variables(self, session_id: str | None, prompt: str = "") -> Variables:
        return variables_of(self.model, self.box, self.lease, session_id or "", prompt)

    def command(self, prompt: str, number: int, session_id: str | None) -> tuple[Command, str | None]:
        return turn_command(self.agent, self.model, self.box, self.lease, prompt, number, session_id, self.images)


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold what a turn's output told: the reply, the session's id as far as it is known, and steps if there are any.

    `arrivals` says when each line of the output came, in ms of the turn, where that is known.
    """

    reply: str
    session_id: str | None
    steps: tuple[Step, ...] = ()
    arrivals: tuple[float | None, ...] = ()


class Driver(Protocol):
    """Take one session's agent through its turns; for each, `prepare`, `run` and `answer` are called in this order."""

    def prepare(self, prompt: str, number: int, session_id: str | None) -> tuple[Command, str | None]:
        """Return the n-th turn's command, and the session's id if it is known before the turn.

        Its output files and deadline are filled in by the caller. Raises SandboxError when it cannot be made.
        """

    def run(self, command: Command, tick: Callable[[], None]) -> Completed:
        """Run the turn to its end or its deadline; `tick` is called a few times a second and may raise to end it."""

    def answer(self, out: str, err: str, session_id: str | None) -> Answer:
        """Read what the turn left: its output, without secrets."""

    def hindrance(self, session_id: str | None) -> str | None:
        """Say by agentcap's names why there can be no further turn, or None."""


def why_not_on(agent: AgentSpec, session_id: str | None) -> str | None:
    """Say why a session that needs its id cannot go on, or None."""
    if not agent.command.next:
        return "resume-not-supported"
    return "no-session-id" if session_id is None else None


@dataclass(frozen=True, slots=True)
class DefinitionDriver:
    """Drive an agent by its agent.toml: one command a turn, its output read by the definition."""

    scene: Scene

    def prepare(self, prompt: str, number: int, session_id: str | None) -> tuple[Command, str | None]:
        return self.scene.command(prompt, number, session_id)

    def run(self, command: Command, tick: Callable[[], None]) -> Completed:
        return self.scene.box.run(command, tick)

    def answer(self, out: str, err: str, session_id: str | None) -> Answer:
        scene, agent = self.scene, self.scene.agent
        variables = scene.variables(session_id)
        if session_id is None and agent.session.path:
            session_id = last_name(scene.box, variables.render(agent.session.path), scene.scratch, scene.earlier)
        if session_id is None:
            session_id = read_session_id(agent.session, out, err)
        said = out
        if agent.reply.file:
            said = read_file(scene.box, variables.render(agent.reply.file), scene.scratch, OUTPUT_READ)
        return Answer(read_reply(agent.reply, said), session_id)

    def hindrance(self, session_id: str | None) -> str | None:
        return why_not_on(self.scene.agent, session_id)


def driver_of(scene: Scene) -> Driver:
    """Return what drives an agent of this kind."""
    if scene.agent.headless is not None:
        from pytest_agentcap.agents.headless_driver import HeadlessDriver

        return HeadlessDriver(scene, scene.agent.headless)
    if scene.agent.speaks_rpc:
        from pytest_agentcap.agents.rpc_driver import RpcDriver

        return RpcDriver(scene)
    return DefinitionDriver(scene)
