"""Which images of agents there are, whether they are up to date, and the removal of those that are not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pytest_agentcap.sandbox.base import SandboxError
from pytest_agentcap.sandbox.images import BASE, HASH_LABEL, base_folder, content_hash, image_name
from pytest_agentcap.sandbox.reaper import run_podman

State = Literal["current", "outdated", "absent"]


@dataclass(frozen=True, slots=True)
class ImageState:
    """Tell how an agent's image stands to its Containerfile; `size` in bytes, `created` in epoch seconds."""

    name: str
    image: str
    state: State
    size: int | None
    created: int | None


def image_states(agents: Mapping[str, Path]) -> list[ImageState]:
    """Return the state of each agent's image, and of the layer under them, by agents' names and folders.

    Raises SandboxError when podman cannot list its images.
    """
    folders = {BASE: base_folder(), **agents}
    stored = {name: image for image in _stored() for name in image.get("Names") or ()}
    return [_state(name, folder, stored.get(image_name(name))) for name, folder in folders.items()]


def prune_images(agents: Mapping[str, Path]) -> tuple[list[str], list[str]]:
    """Remove images of ours that are outdated, or that a newer build took the name of; others are not looked at.

    Returns what was removed, and what podman would not remove, a line each. Raises SandboxError when podman cannot
    list its images.
    """
    outdated = [each.image for each in image_states(agents) if each.state == "outdated"]
    # What stands on an image is removed before it.
    nameless = [str(image["Id"]) for image in _stored() if not image.get("Names")]
    removed, kept = [], []
    for image in [*reversed(outdated), *nameless]:
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
