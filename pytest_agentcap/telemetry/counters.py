"""What the kernel has counted for a whole control group, of cgroups v2 or v1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_agentcap.telemetry.model import Resources

_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Counters:
    """Hold the counters of one moment, None where one cannot be read from here; CPU times are nanoseconds.

    `peak_memory_bytes` is the most that the group ever had until then, caches included.
    """

    user_ns: int | None = None
    system_ns: int | None = None
    peak_memory_bytes: int | None = None
    storage_read_bytes: int | None = None
    storage_write_bytes: int | None = None

    @property
    def cpu_ns(self) -> int | None:
        return None if self.user_ns is None or self.system_ns is None else self.user_ns + self.system_ns

    @classmethod
    def read(cls, cgroup: str, root: Path = _CGROUPS) -> Counters:
        """Read them of a group by its path.

        Version 1 counts no bytes of writes that go through a cache, so its `blkio` is not asked. Sources: the kernel's
        Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/cpuacct.rst and cgroup-v1/memory.rst.
        """
        if not cgroup.startswith("/"):
            return cls()
        path = cgroup.lstrip("/")
        user, system = _cpu(root, path)
        read, written = _storage(root, path)
        peak = _number(root / path / "memory.peak") or _number(root / "memory" / path / "memory.max_usage_in_bytes")
        return cls(user, system, peak, read, written)

    def since(self, before: Counters) -> Resources:
        """Return what was used since an earlier moment.

        The peak is known only when it was reached in between: an earlier one may have been larger.
        """
        grown = _less(self.peak_memory_bytes, before.peak_memory_bytes)
        user, system = _less(self.user_ns, before.user_ns), _less(self.system_ns, before.system_ns)
        return Resources(
            "cgroup" if user is not None else "none",
            "window" if user is not None else "none",
            user_s=None if user is None else user / 1e9,
            system_s=None if system is None else system / 1e9,
            peak_memory_bytes=self.peak_memory_bytes if grown else None,
            storage_read_bytes=_less(self.storage_read_bytes, before.storage_read_bytes),
            storage_write_bytes=_less(self.storage_write_bytes, before.storage_write_bytes),
        )


def members(cgroup: str, root: Path = _CGROUPS) -> list[int]:
    """Return the processes of a group and of those below it, by any hierarchy that has it."""
    path = cgroup.lstrip("/")
    for place in (root / path, root / "unified" / path, root / "pids" / path, root / "memory" / path):
        if (place / "cgroup.procs").exists():
            texts = (_read(file) or "" for file in place.rglob("cgroup.procs"))
            return [int(pid) for text in texts for pid in text.split()]
    return []


def _cpu(root: Path, path: str) -> tuple[int | None, int | None]:
    for place in (root / path, root / "unified" / path):
        told = dict(_pairs(_read(place / "cpu.stat")))
        if "user_usec" in told:
            return told["user_usec"] * 1000, told["system_usec"] * 1000
    place = root / "cpuacct" / path
    return _number(place / "cpuacct.usage_user"), _number(place / "cpuacct.usage_sys")


def _storage(root: Path, path: str) -> tuple[int | None, int | None]:
    text = _read(root / path / "io.stat")
    if text is None:
        return None, None
    counts = [pair.partition("=") for pair in text.split() if "=" in pair]
    totals = {name: sum(int(n) for key, _, n in counts if key == name) for name in ("rbytes", "wbytes")}
    return totals["rbytes"], totals["wbytes"]


def _pairs(text: str | None) -> Iterator[tuple[str, int]]:
    words = (line.split() for line in (text or "").splitlines())
    return ((pair[0], int(pair[1])) for pair in words if len(pair) == 2 and pair[1].isdigit())


def _number(path: Path) -> int | None:
    text = (_read(path) or "").strip()
    return int(text) if text.isdigit() else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def _less(now: int | None, before: int | None) -> int | None:
    return None if now is None or before is None else max(0, now - before)
