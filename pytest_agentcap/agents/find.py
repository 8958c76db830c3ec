"""Where agents are found: in the project, in the user's own folder, in the package."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pytest_agentcap.agents.spec import AgentError, AgentSpec, read_agent
from pytest_agentcap.shipped import packaged

DEFINITION = "agent.toml"


def agent_folders(rootdir: Path) -> list[Path]:
    """List where agents are looked for, the first that has a name wins."""
    own = os.environ.get("AGENTCAP_CONTAINERS_DIR")
    return [rootdir / "agents", *([Path(own)] if own else []), packaged("agents")]


def find_agent(name: str, rootdir: Path) -> AgentSpec:
    """Read the agent of a name, or of a path to an agent.toml or its folder.

    Raises AgentError naming the agents that there are.
    """
    path = Path(name)
    if path.name == DEFINITION or "/" in name:
        return read_agent(path if path.name == DEFINITION else path / DEFINITION)
    for folder in agent_folders(rootdir):
        if (folder / name / DEFINITION).is_file():
            return read_agent(folder / name / DEFINITION)
    known = ", ".join(sorted({path.parent.name for path in _definitions(rootdir)}))
    raise AgentError(f"no agent is called {name!r}; there are: {known}; or give the path of an agent.toml")


def find_agents(rootdir: Path) -> list[AgentSpec]:
    """Read every agent that `find_agent` can find by name, in the order of their names.

    Raises AgentError naming the file that is wrong.
    """
    found: dict[str, Path] = {}
    for path in _definitions(rootdir):
        found.setdefault(path.parent.name, path)
    return [read_agent(found[name]) for name in sorted(found)]


def _definitions(rootdir: Path) -> Iterator[Path]:
    for folder in agent_folders(rootdir):
        yield from sorted(folder.glob(f"*/{DEFINITION}"))
