"""What podman needs of a Linux host: looked at to explain a failure, and to say which limits will not hold."""

from __future__ import annotations

import getpass
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_agentcap.sandbox.limits import enforced_controllers

_RUNTIMES = ("crun", "runc", "youki", "kata-runtime")
_NETWORKS = ("pasta", "slirp4netns")
# Where podman looks for its helpers besides PATH.
_HELPERS = ("usr/sbin", "usr/libexec/podman", "usr/local/libexec/podman", "usr/lib/podman", "usr/local/lib/podman")
_OPTIONS = {"memory": "--memory", "pids": "--pids", "cpu": "--cpus"}


@dataclass(frozen=True, slots=True)
class Host:
    """Stand for the machine and the user whose podman it is."""

    uid: int
    user: str
    find: Callable[[str], str | None] = shutil.which
    root: Path = Path("/")

    @classmethod
    def current(cls) -> Host:
        return cls(os.getuid(), getpass.getuser())

    def has_one_of(self, *programs: str) -> bool:
        helpers = (self.root / folder / program for folder in _HELPERS for program in programs)
        return any(map(self.find, programs)) or any(path.is_file() for path in helpers)

    def number(self, setting: str) -> int | None:
        path = self.root / "proc/sys" / setting
        return int(path.read_text()) if path.is_file() else None


def missing_parts(host: Host, network: str) -> list[str]:
    """Name what podman lacks on a host, a line each with what to do about it; nothing when all is there."""
    missing = []
    if not host.has_one_of(*_RUNTIMES):
        missing.append("runtime: neither crun nor runc is installed: install crun")
    if not host.has_one_of("conmon"):
        missing.append("runtime: conmon is not installed: install conmon")
    return missing if host.uid == 0 else missing + _missing_without_root(host, network)


def _missing_without_root(host: Host, network: str) -> list[str]:
    missing = []
    if host.number("user/max_user_namespaces") == 0:
        missing.append("user namespaces: switched off: sudo sysctl user.max_user_namespaces=15000")
    if host.number("kernel/unprivileged_userns_clone") == 0:
        missing.append("user namespaces: only for root: sudo sysctl kernel.unprivileged_userns_clone=1")
    if not (host.has_one_of("newuidmap") and host.has_one_of("newgidmap")):
        missing.append("subuid: newuidmap and newgidmap are not installed: install uidmap (Fedora: shadow-utils)")
    for kind in ("uid", "gid"):
        if not _has_range(host, kind):
            missing.append(
                f"sub{kind}: /etc/sub{kind} has no line for {host.user}: "
                f"sudo usermod --add-sub{kind}s 100000-165535 {host.user} && podman system migrate"
            )
    if network == "open":
        if not host.has_one_of(*_NETWORKS):
            missing.append("network open: neither pasta nor slirp4netns is installed: install passt")
        tun = host.root / "dev/net/tun"
        if not os.access(tun, os.R_OK | os.W_OK):
            missing.append(
                f"tun: {tun} cannot be opened by {host.user}, which network open needs: sudo chmod 666 {tun}"
            )
    return missing


def unenforced_limits(info: dict[str, Any]) -> list[str]:
    """Say which limits podman cannot hold containers to, by its `info`; nothing when it can hold to all."""
    controllers = enforced_controllers(info)
    lost = [option for name, option in _OPTIONS.items() if controllers is not None and name not in controllers]
    if not lost:
        return []
    why = "cgroups v1" if info["host"].get("cgroupVersion") == "v1" else "cgroup controllers not delegated to the user"
    return [f"cgroups: {', '.join(lost)} cannot be held to without root on this host ({why})"]


def _has_range(host: Host, kind: str) -> bool:
    switch = host.root / "etc/nsswitch.conf"
    if switch.is_file() and any(line.startswith("subid:") for line in switch.read_text().splitlines()):
        # The ranges are kept elsewhere, in a directory service.
        return True
    table = host.root / f"etc/sub{kind}"
    lines = table.read_text().splitlines() if table.is_file() else []
    return any(line.partition(":")[0] in (host.user, str(host.uid)) for line in lines)
