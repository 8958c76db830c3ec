"""The sandbox that the options ask for."""

from __future__ import annotations

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
    from pytest_agentcap.sandbox.images import image_part
    from pytest_agentcap.sandbox.podman import PodmanSandbox

    assert podman_uri is not None, "the controller starts podman's service before any session"
    return PodmanSandbox(image_part(agent), image_folder, podman_uri, state)
