"""Podman's virtual machine, which containers run in on macOS."""

from __future__ import annotations

import json
from collections.abc import Callable

from pytest_agentcap.sandbox.base import SandboxError
from pytest_agentcap.sandbox.podman_command import run_podman

_START_TAKES_S = 600.0


def machine_uri(progress: Callable[[str], None]) -> str:
    """Return the address of podman's service in its virtual machine, which is started if it does not run.

    Raises SandboxError that says how to make a machine when there is none.
    """
    machines = json.loads(run_podman("machine", "list", "--format", "json") or "[]")
    if not machines:
        raise SandboxError("podman has no virtual machine: make one with: podman machine init --memory 8192 --now")
    # One that runs already before the one that podman would choose, and any before none.
    machine = max(machines, key=lambda each: (bool(each.get("Running")), bool(each.get("Default"))))
    name = str(machine["Name"]).removesuffix("*")
    if not machine.get("Running"):
        progress(f"starting podman's virtual machine {name}; this takes a minute")
        run_podman("machine", "start", name, timeout_s=_START_TAKES_S)
    path = run_podman("machine", "inspect", "--format", "{{.ConnectionInfo.PodmanSocket.Path}}", name).strip()
    if not path:
        raise SandboxError(f"podman's virtual machine {name} tells no socket: try: podman machine start {name}")
    return f"unix://{path}"
