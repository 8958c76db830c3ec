"""Which images of agents and tasks there are, whether they are up to date, and the removal of those that are not."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pytest_agentcap.sandbox.base import SandboxError
from pytest_agentcap.sandbox.images import BASE, HASH_LABEL, base_folder, content_hash, image_name
from pytest_agentcap.sandbox.podman_command import run_podman

State = Literal["current", "outdated", "absent", "task"]

# `task-NAME-HASH`, and what stands on it: the layer that agents share, or an agent.
_OF_TASK = re.compile(r"localhost/agentcap-(task-.+-[0-9a-f]{8}(?:-[a-z0-9-]+)?):latest")


@dataclass(frozen=True, slots=True)
class ImageState:
    """Tell how an agent's image stands to its Containerfile; `size` in bytes, `created` in epoch seconds.

    An image that was made for a task is in the state `task`: nothing of it says where its task is, or was.
    """

    name: str
    image: str
    state: State
    size: int | None
    created: int | None


def image_states(agents: Mapping[str, Path]) -> list[ImageState]:
    """Return the state of each agent's image, by agents' names and folders, of the layer under them, and of tasks'.

    Raises SandboxError when podman cannot list its images.
    """
    folders = {BASE: base_folder(), **agents}
    stored = {name: image for image in _stored() for name in image.get("Names") or ()}
    states = [_state(name, folder, stored.get(image_name(name))) for name, folder in folders.items()]
    taken = {each.image for each in states}
    of_tasks = [
        (found[1], stored[name]) for name in stored if name not in taken and (found := _OF_TASK.fullmatch(name))
    ]
    return states + [
        ImageState(name, image_name(name), "task", int(image["Size"]), int(image["Created"]))
        for name, image in of_tasks
    ]


def prune_images(agents: Mapping[str, Path], *, tasks: bool = False) -> tuple[list[str], list[str]]:
    """Remove images of ours that are outdated, or that a newer build took the name of; others are not looked at.

    With `tasks` those that were made for tasks go, too: the next run of such a task builds them again.

    Returns what was removed, and what podman would not remove, a line each. Raises SandboxError when podman cannot
    list its images.
    """
    states = image_states(agents)
    outdated = [each.image for each in states if each.state == "outdated"]
    # What stands on an image is removed before it: tasks' images, listed newest first, stand on each other.
    of_tasks = [each.image for each in states if tasks and each.state == "task"]
    nameless = [str(image["Id"]) for image in _stored() if not image.get("Names")]
    removed, kept = [], []
    for image in [*of_tasks, *reversed(outdated), *nameless]:
        try:
            run_podman("image", "rm", image)
        except SandboxError as error:
            kept.append(f"{_short(image)} is kept: {error}")
        else:
            removed.append(_short(image))
    return removed, kept


def _stored() -> list[dict[str, Any]]:
    listed = json.loads(run_podman("image", "ls", "--filter", f"label={HASH_LABEL}", "--format", "json") or "[]")
    return sorted(listed or [], key=lambda image: -int(image.get("Created") or 0))


def _state(name: str, folder: Path, stored: Mapping[str, Any] | None) -> ImageState:
    if stored is None:
        return ImageState(name, image_name(name), "absent", None, None)
    wanted = content_hash(folder, {})
    state: State = "current" if (stored.get("Labels") or {}).get(HASH_LABEL) == wanted else "outdated"
    return ImageState(name, image_name(name), state, int(stored["Size"]), int(stored["Created"]))


def _short(image: str) -> str:
    return image if "/" in image else image[:12]
