"""What Linux's /proc tells of running processes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from pytest_agentcap.telemetry.processes import Process

_PROC = "/proc"
_ARGV_BYTES = 8192
_PIECE_BYTES = 16384
_VARIABLE = "="


def argv_of(pid: int, proc: str = _PROC) -> str | None:
    """Return a process's words with NUL between them, at most 8 KiB; None when it is gone."""
    data = _read(f"{proc}/{pid}/cmdline", _ARGV_BYTES)
    return data.rstrip(b"\0").decode("utf-8", "replace") if data else None


def sandbox_of(pid: int, names: Iterable[str], proc: str = _PROC) -> str | None:
    """Return which of these sandboxes a process is in.

    A name is either a control group's path or NAME=value in the environment.
    """
    groups = environment = None
    for name in names:
        if _VARIABLE in name:
            if environment is None:
                environment = (_read(f"{proc}/{pid}/environ") or b"").split(b"\0")
            if name.encode() in environment:
                return name
        else:
            if groups is None:
                groups = _groups(pid, proc)
            if any(group == name or group.startswith(f"{name}/") for group in groups):
                return name
    return None


def running_in(name: str, proc: str = _PROC) -> Iterator[Process]:
    """Yield the processes that are in a sandbox now."""
    for pid in pids(proc):
        if sandbox_of(pid, [name], proc) is not None and (process := read_process(pid, proc)) is not None:
            yield process


def pids(proc: str = _PROC) -> list[int]:
    return [int(entry) for entry in os.listdir(proc) if entry.isdigit()]  # noqa: PTH208


def read_process(pid: int, proc: str = _PROC) -> Process | None:
    """Read a process's parent, start and words; None when it is gone."""
    fields = stat_fields(pid, proc)
    if fields is None:
        return None
    return Process(pid, int(fields[1]), started_ns(fields), argv=argv_of(pid, proc))


def sample(pid: int, process: Process, proc: str = _PROC) -> bool:
    """Bring the figures of a process up to date; False when it is gone.

    What this user may not read stays None. Sources: proc_pid_stat(5), proc_pid_status(5), proc_pid_io(5).
    """
    fields = stat_fields(pid, proc)
    if fields is None or fields[0] in "ZX" or started_ns(fields) != process.started_ns:
        return False
    tick = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    process.user_ns, process.system_ns = int(fields[11]) * tick, int(fields[12]) * tick
    told = _numbers(_read(f"{proc}/{pid}/status"))
    if "VmHWM" in told:
        process.peak_rss_bytes = told["VmHWM"] << 10
    told = _numbers(_read(f"{proc}/{pid}/io"))
    if told:
        process.storage_read_bytes = told["read_bytes"]
        process.storage_write_bytes = max(0, told["write_bytes"] - told["cancelled_write_bytes"])
        process.syscall_read_bytes, process.syscall_write_bytes = told["rchar"], told["wchar"]
    return True


def stat_fields(pid: int, proc: str = _PROC) -> list[str] | None:
    """Return the fields of `stat` behind the name, which may hold anything; the first is the state."""
    data = _read(f"{proc}/{pid}/stat")
    return data.rpartition(b")")[2].decode().split() if data else None


def started_ns(fields: list[str]) -> int:
    """Return when a process started, in nanoseconds since the machine did, to the precision of a tick."""
    return int(fields[19]) * (1_000_000_000 // os.sysconf("SC_CLK_TCK"))


def _groups(pid: int, proc: str) -> list[str]:
    lines = (_read(f"{proc}/{pid}/cgroup") or b"").decode("utf-8", "replace").splitlines()
    return [line.split(":", 2)[2] for line in lines if line.count(":") >= 2]


def _numbers(data: bytes | None) -> dict[str, int]:
    pairs = (line.partition(":") for line in (data or b"").decode("utf-8", "replace").splitlines())
    return {name: int(words[0]) for name, _, value in pairs if (words := value.split()) and words[0].isdigit()}


def _read(path: str, size: int = 1 << 20) -> bytes | None:
    """Read a file up to a size, by pieces: making room for all of it takes longer than reading what most files have."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        data = piece = os.read(descriptor, min(size, _PIECE_BYTES))
        while len(piece) == _PIECE_BYTES and len(data) < size:
            piece = os.read(descriptor, _PIECE_BYTES)
            data += piece
        return data
    except OSError:
        return None
    finally:
        os.close(descriptor)
