"""Working containers: what podman builds images in, and what it leaves when a build is killed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pytest_agentcap.sandbox.podman_command import run_podman


def working_containers(folder: Path) -> list[str]:
    """List the working containers of builds that have something of `folder` mounted. Raises SandboxError."""
    listed = json.loads(run_podman("ps", "--all", "--external", "--no-trunc", "--format", "json") or "[]")
    working = [str(each["Id"]) for each in listed or [] if each.get("Command") == ["buildah"]]
    if not working:
        return []
    store = run_podman("info", "--format", "{{.Store.GraphRoot}}/{{.Store.GraphDriverName}}-containers").strip()
    return [each for each in working if any(path.is_relative_to(folder) for path in _mounted(Path(store, each)))]


def remove_working_containers(folder: Path) -> int:
    """Remove those of builds that have ended; return how many there were. Raises SandboxError."""
    found = working_containers(folder)
    if found:
        run_podman("rm", "--force", *found)
    return len(found)


def _mounted(container: Path) -> list[Path]:
    """Return the host's folders that a build mounts, by buildah's own record: podman's commands do not tell them."""
    record = container / "userdata" / "buildah.json"
    if not record.is_file():
        # Another process has removed it meanwhile, or podman's storage is on another machine.
        return []
    facts: dict[str, Any] = json.loads(record.read_bytes())
    volumes = (facts.get("CommonBuildOpts") or {}).get("Volumes") or ()
    return [Path(volume.partition(":")[0]) for volume in volumes]
