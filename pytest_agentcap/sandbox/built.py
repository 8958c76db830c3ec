"""Which agents' images there are, as podman lists them: no service is started, nothing is built."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from pytest_agentcap.sandbox.images import CONTAINERFILE, HASH_LABEL, content_hash, image_name

_ANSWER_S = 60.0


def built_images() -> Mapping[str, str] | None:
    """Return the content hash of every image that was built here, by image name; None when podman does not tell."""
    command = ["podman", "images", "--filter", f"label={HASH_LABEL}", "--format", "json"]
    try:
        listed = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=_ANSWER_S)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    if listed.returncode != 0:
        return None
    images = json.loads(listed.stdout or b"[]")
    return {name: image["Labels"][HASH_LABEL] for image in images for name in image.get("Names") or ()}


def image_state(agent: str, folder: Path, built: Mapping[str, str]) -> str | None:
    """Tell whether an agent's image is `built`, `out of date` or `absent`; None for an agent without Containerfile."""
    if not (folder / CONTAINERFILE).is_file():
        return None
    label = built.get(image_name(agent))
    if label is None:
        return "absent"
    return "built" if label == content_hash(folder, {}) else "out of date"
