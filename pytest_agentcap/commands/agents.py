"""`agentcap agents`: the agents that can be run from here, and what of one of them works."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_agentcap.commands import check
from pytest_agentcap.commands.base import Commands
from pytest_agentcap.commands.output import complain, write_json, write_table

if TYPE_CHECKING:
    from pytest_agentcap.agents.spec import AgentSpec


def add(commands: Commands) -> None:
    parser = commands.add_parser("agents", help="list the agents that can be run, or check one")
    parser.add_argument("--json", action="store_true", help="print a JSON list")
    parser.set_defaults(command=_run)
    check.add(parser.add_subparsers(title="commands", metavar="COMMAND"))


def _run(args: argparse.Namespace) -> int:
    from pytest_agentcap.agents.find import find_agents

    agents, broken = find_agents(Path.cwd())
    for error in broken:
        complain(str(error))
    images = _images(agents)
    rows = [_row(agent, images) for agent in agents]
    if args.json:
        write_json(rows)
    else:
        header = ["NAME", "VERSION", "API", "INSTALLED", "IMAGE", "DESCRIPTION"]
        write_table(header, [_cells(row) for row in rows])
    return 1 if broken else 0


def _images(agents: Sequence[AgentSpec]) -> Mapping[str, str]:
    """Return how each agent's image stands; nothing where podman does not tell."""
    from pytest_agentcap.sandbox.base import SandboxError
    from pytest_agentcap.sandbox.image_store import image_states
    from pytest_agentcap.sandbox.images import CONTAINERFILE

    folders = {agent.name: agent.folder for agent in agents if (agent.folder / CONTAINERFILE).is_file()}
    try:
        return {each.name: each.state for each in image_states(folders)}
    except SandboxError:
        return {}


def _row(agent: AgentSpec, images: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": agent.name,
        "version": agent.version,
        "api": agent.api,
        "installed": shutil.which(agent.executable) is not None,
        "image": images.get(agent.name),
        "description": agent.description,
    }


def _cells(row: dict[str, Any]) -> list[Any]:
    return list({**row, "installed": "yes" if row["installed"] else "no"}.values())
