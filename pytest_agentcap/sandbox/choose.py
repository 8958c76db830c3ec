"""The sandbox that the options ask for."""

from __future__ import annotations

import re
from pathlib import Path

from pytest_agentcap.sandbox.base import Sandbox
from pytest_agentcap.sandbox.reaper import OwnerState


def make_sandbox(
    kind: str,
    *,
    agent: str,
    executable: str,
    image_folder: Path,
    podman_uri: str | None,
    state: OwnerState,
    inherits: bool = False,
) -> Sandbox:
    """Return an agent's sandbox of a kind, `podman` or `host`; nothing is started yet.

    On the host an agent that `inherits` has this process's environment and home.
    """
    if kind == "host":
        from pytest_agentcap.sandbox.host import HostSandbox

        return HostSandbox(executable, state, inherits=inherits)
    from pytest_agentcap.sandbox.podman import PodmanSandbox

    assert podman_uri is not None, "the controller starts podman's service before any session"
    return PodmanSandbox(_image_part(agent), image_folder, podman_uri, state)


def _image_part(agent: str) -> str:
    """Return an agent's name as a part of an image's; definitions from elsewhere may have capitals and blanks."""
    return re.sub(r"[^a-z0-9]+", "-", agent.lower()).strip("-") or "agent"
