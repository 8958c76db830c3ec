"""`agentcap agents`: the agents that can be run from here."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_agentcap.commands.base import Commands
from pytest_agentcap.commands.output import write_json, write_table


def add(commands: Commands) -> None:
    parser = commands.add_parser("agents", help="list the agents that can be run")
    parser.add_argument("--json", action="store_true", help="print a JSON list")
    parser.set_defaults(command=_run)


def _run(args: argparse.Namespace) -> int:
    from pytest_agentcap.agents.find import find_agents

    agents = find_agents(Path.cwd())
    if args.json:
        write_json([{name: getattr(a, name) for name in ("name", "version", "api", "description")} for a in agents])
    else:
        write_table(
            ["NAME", "VERSION", "API", "DESCRIPTION"], [[a.name, a.version, a.api, a.description] for a in agents]
        )
    return 0
