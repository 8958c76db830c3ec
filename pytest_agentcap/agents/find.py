"""Where agents are found: in the project, in the user's own folder, in the package."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pytest_agentcap.agents import line
from pytest_agentcap.agents.headless import ENDING, on_host, read_headless, unread_keys
from pytest_agentcap.agents.rpc import PREFIX, program_name, read_program
from pytest_agentcap.agents.spec import AgentError, AgentSpec, read_agent
from pytest_agentcap.shipped import packaged

if TYPE_CHECKING:
    from pytest_agentcap.settings import Settings

DEFINITION = "agent.toml"
CONTAINERFILE = "Containerfile"


def agent_folders(rootdir: Path) -> list[Path]:
    """List where agents are looked for, the first that has a name wins."""
    own = os.environ.get("AGENTCAP_CONTAINERS_DIR")
    return [rootdir / "agents", *([Path(own)] if own else []), packaged("agents")]


def find_agent(name: str, rootdir: Path) -> AgentSpec:
    """Read the agent of a name, of the path of an agent.toml, its folder or a headless schema, or of a command.

    Commands are `adapter:COMMAND` and `cmd:COMMAND`.

    Raises AgentError naming the agents that there are.
    """
    if name.startswith(PREFIX):
        return read_program(name, Path.cwd())
    if name.startswith(line.PREFIX):
        return line.read_line(name, Path.cwd())
    path = Path(name)
    if path.suffix == ENDING:
        return read_headless(path)
    if path.name == DEFINITION or "/" in name:
        return read_agent(path if path.name == DEFINITION else path / DEFINITION)
    for folder in agent_folders(rootdir):
        if (folder / name / DEFINITION).is_file():
            return read_agent(folder / name / DEFINITION)
    known = ", ".join(sorted({path.parent.name for path in _definitions(rootdir)}))
    raise AgentError(f"no agent is called {name!r}; there are: {known}; or give the path of an agent.toml")


def agent_stem(name: str) -> str:
    """Return what an agent is called in the ids of tests, before its definition is read."""
    if name.startswith(PREFIX):
        return program_name(name.removeprefix(PREFIX).split() or [name])
    if name.startswith(line.PREFIX):
        words = name.removeprefix(line.PREFIX).split()
        return Path(words[0]).stem if words else "cmd"
    path = Path(name)
    if path.suffix == ENDING:
        return path.stem
    return path.parent.name if path.suffix == ".toml" else path.name


def chosen_agent(name: str, settings: Settings, rootdir: Path) -> AgentSpec:
    """Read an agent as the options want it: with their MCP servers, and able to run in their sandbox.

    Raises AgentError.
    """
    agent = find_agent(name, rootdir)
    if settings.mcp is not None:
        from pytest_agentcap.agents.mcp import read_servers, with_servers

        try:
            agent = with_servers(agent, read_servers(settings.mcp))
        except AgentError as error:
            raise AgentError(f"--mcp {settings.mcp}: {error}") from error
    if settings.bypass:
        if not agent.is_adapter:
            raise AgentError(f"{name}: its definition leads it to the proxy: --bypass is for headless adapters")
        agent = msgspec.structs.replace(agent, environment={})
    if settings.sandbox == "host":
        return on_host(agent) if agent.headless else agent
    if agent.on_host_only:
        raise AgentError(f"{name} runs on this machine only: pass --sandbox host")
    if agent.headless and not (agent.folder / CONTAINERFILE).is_file():
        raise AgentError(
            f"{name}: there is no {CONTAINERFILE} beside it: write one that installs {agent.executable}, or pass "
            "--sandbox host"
        )
    return agent


def unread_by_schemas(names: Iterable[str]) -> list[str]:
    """Tell in a line for each headless schema among the agents, which are known, what of it nobody reads."""
    paths = [Path(name) for name in names if not name.startswith((PREFIX, line.PREFIX)) and name.endswith(ENDING)]
    return [told for path in paths if (told := unread_keys(path))]


def find_agents(rootdir: Path) -> tuple[list[AgentSpec], list[AgentError]]:
    """Read every agent that `find_agent` can find by name, in the order of their names; tell which cannot be read."""
    found: dict[str, Path] = {}
    for path in _definitions(rootdir):
        found.setdefault(path.parent.name, path)
    agents: list[AgentSpec] = []
    broken: list[AgentError] = []
    for name in sorted(found):
        try:
            agents.append(read_agent(found[name]))
        except AgentError as error:
            broken.append(error)
    return agents, broken


def _definitions(rootdir: Path) -> Iterator[Path]:
    for folder in agent_folders(rootdir):
        yield from sorted(folder.glob(f"*/{DEFINITION}"))
