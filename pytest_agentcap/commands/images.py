"""`agentcap images`: the container images of agents and tasks, listed, built ahead of a run, and cleared away."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_agentcap.commands.base import Commands
from pytest_agentcap.commands.output import complain, write, write_json, write_table

if TYPE_CHECKING:
    from pytest_agentcap.sandbox.image_store import ImageState

_MIB = 1 << 20


def add(commands: Commands) -> None:
    parser = commands.add_parser("images", help="list, build or remove the container images of agents and tasks")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    ls = actions.add_parser("ls", help="list images: current, outdated or absent, and those of tasks")
    ls.add_argument("--json", action="store_true", help="print a JSON list")
    ls.set_defaults(command=_list)
    build = actions.add_parser("build", help="build images that are not current")
    build.add_argument("names", nargs="*", metavar="NAME", help="an agent, or base, which all others stand on")
    build.add_argument("--all", action="store_true", help="every agent that can be run from here")
    build.set_defaults(command=_build)
    prune = actions.add_parser("prune", help="remove outdated images, and those that a newer build replaced")
    prune.add_argument("--tasks", action="store_true", help="remove images that were made for tasks, too")
    prune.set_defaults(command=_prune)


def _list(args: argparse.Namespace) -> int:
    from pytest_agentcap.sandbox.image_store import image_states

    states = image_states(_folders())
    if args.json:
        write_json([asdict(state) for state in states])
    else:
        write_table(["NAME", "STATE", "SIZE", "CREATED", "IMAGE"], [_row(state) for state in states])
    return 0


def _build(args: argparse.Namespace) -> int:
    from pytest_agentcap.sandbox.images import BASE, base_folder, ensure_image, image_name
    from pytest_agentcap.sandbox.reaper import Owner
    from pytest_agentcap.sandbox.service import PodmanService

    if args.all == bool(args.names):
        raise ValueError("images build: name agents, or pass --all")
    folders = {BASE: base_folder(), **_folders()}
    unknown = [name for name in args.names if name not in folders]
    if unknown:
        raise ValueError(f"no agent is called {unknown[0]!r}; there are: {', '.join(folders)}")
    state = Owner.claim()
    try:
        service = PodmanService.start(state)
        try:
            for name in args.names or folders:
                ensure_image(name, folders[name], {}, service.uri, state, write)
                write(f"{image_name(name)} is current")
        finally:
            service.close()
    finally:
        state.release()
    return 0


def _prune(args: argparse.Namespace) -> int:
    from pytest_agentcap.sandbox.image_store import prune_images

    removed, kept = prune_images(_folders(), tasks=args.tasks)
    for image in removed:
        write(f"removed {image}")
    for line in kept:
        complain(line)
    if not removed and not kept:
        write("there is nothing to remove")
    return 1 if kept else 0


def _folders() -> dict[str, Path]:
    """Return the folders of agents that can be run from here and have an image, by name."""
    from pytest_agentcap.agents.find import find_agents
    from pytest_agentcap.sandbox.images import CONTAINERFILE

    agents, broken = find_agents(Path.cwd())
    for error in broken:
        complain(str(error))
    return {agent.name: agent.folder for agent in agents if (agent.folder / CONTAINERFILE).is_file()}


def _row(state: ImageState) -> list[str | None]:
    size = None if state.size is None else f"{state.size / _MIB:.0f} MiB"
    created = None if state.created is None else datetime.fromtimestamp(state.created, UTC).strftime("%Y-%m-%d %H:%M")
    return [state.name, state.state, size, created, state.image]
