"""Limits of a container: what podman is asked for, and whether one of them was reached."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_agentcap.sandbox.base import SandboxOptions

_CPU_PERIOD_US = 100_000
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_CGROUPS = Path("/sys/fs/cgroup")
_DISK_EVERY_S = 5.0
# Looking at the disk may take a twentieth of the time: a workspace of many files is looked at less often.
_DISK_SHARE = 20


def size_in_bytes(text: str) -> int:
    """Read a size such as `512m`, with the units b, k, m, g and t as powers of 1024.

    Raises ValueError when it is none.
    """
    found = re.fullmatch(r"(\d+)([bkmgt]?)b?", text.strip().lower())
    if found is None or int(found[1]) == 0:
        raise ValueError(f"{text!r} is not a size such as 512m or 4g")
    return int(found[1]) * _UNITS[found[2]]


def container_limits(options: SandboxOptions, controllers: Collection[str] | None) -> dict[str, Any]:
    """Return the arguments that limit a container, of those controllers of its cgroup that there are; None is all."""
    wanted: dict[str, dict[str, Any]] = {
        "memory": {"mem_limit": str(size_in_bytes(options.memory))},
        "pids": {"pids_limit": options.pids},
        "cpu": {"cpu_period": _CPU_PERIOD_US, "cpu_quota": int(options.cpus * _CPU_PERIOD_US)},
    }
    chosen = [values for name, values in wanted.items() if controllers is None or name in controllers]
    return {key: value for values in chosen for key, value in values.items()}


def enforced_controllers(info: dict[str, Any]) -> Collection[str] | None:
    """Return the cgroup controllers that podman may use, by its `info`; None when it may use all.

    With cgroups v1 and without root it can use none; with v2 those that the host delegates to the user.
    """
    host = info.get("host", {})
    if not host.get("security", {}).get("rootless"):
        return None
    return () if host.get("cgroupVersion") == "v1" else tuple(host.get("cgroupControllers") or ())


@dataclass(frozen=True, slots=True)
class Counters:
    """Hold what the kernel counted in a container's cgroup; None where that cannot be read from here."""

    killed: int | None
    refused: int | None

    @classmethod
    def read(cls, cgroup: str, root: Path = _CGROUPS) -> Counters:
        """Read processes killed for want of memory, and those refused for their number, of cgroups v1 or v2."""
        return cls(
            _count(root, cgroup, "memory", ("memory.oom_control", "memory.events"), "oom_kill"),
            _count(root, cgroup, "pids", ("pids.events",), "max"),
        )

    def reached_since(self, before: Counters, options: SandboxOptions) -> str | None:
        """Say which limit was reached since an earlier count, or None."""
        killed, refused = _more(self.killed, before.killed), _more(self.refused, before.refused)
        if killed:
            processes = "1 process was" if killed == 1 else f"{killed} processes were"
            return f"the memory limit of {options.memory} was reached, and {processes} killed"
        return f"the limit of {options.pids} processes was reached" if refused else None


class DiskWatch:
    """Compare what a container has written with its limit, now and then; `measure` returns bytes."""

    def __init__(self, limit: str, measure: Callable[[], int]) -> None:
        self._limit, self._measure = limit, measure
        self._next = time.monotonic() + _DISK_EVERY_S

    def now(self) -> str | None:
        """Say by how much the limit is exceeded, or None."""
        used = self._measure()
        if used <= size_in_bytes(self._limit):
            return None
        return f"the disk limit of {self._limit} was exceeded: the files have {used:,} bytes"

    def when_due(self) -> str | None:
        """Do the same, but not too often."""
        started = time.monotonic()
        if started < self._next:
            return None
        said = self.now()
        ended = time.monotonic()
        self._next = ended + max(_DISK_EVERY_S, _DISK_SHARE * (ended - started))
        return said


def _count(root: Path, cgroup: str, controller: str, names: tuple[str, ...], key: str) -> int | None:
    # A runtime may put the processes into a group of their own, below the one that has the limits.
    groups = [cgroup, *([cgroup.removesuffix("/container")] if cgroup.endswith("/container") else [])]
    folders = [place / group.lstrip("/") for place in (root / controller, root) for group in groups if group]
    found = [number for folder in folders for name in names if (number := _read(folder / name, key)) is not None]
    return max(found, default=None)


def _read(path: Path, key: str) -> int | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    values = dict(line.split(" ", 1) for line in lines if " " in line)
    return int(values[key]) if values.get(key, "").isdigit() else None


def _more(now: int | None, before: int | None) -> int:
    return 0 if now is None or before is None else now - before
