"""Samples of a sandbox's process tree, where nobody may listen to the kernel."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Container, Iterator

from pytest_agentcap.telemetry.counters import members
from pytest_agentcap.telemetry.proc import pids, read_process, sample, sandbox_of
from pytest_agentcap.telemetry.processes import Process, Seen

EVERY_S = 0.1


class Sampler:
    """Look at the processes of a sandbox ten times a second; see `sandbox_of` for its name.

    On Linux that is /proc. Elsewhere psutil tells less: no bytes, and the resident set only as it was at a sample.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._known: set[int] = set()
        self._live: dict[int, Process] = {}
        self._ended: list[Process] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="agentcap-sampler", daemon=True)
        self._thread.start()

    @property
    def epoch_ns(self) -> int:
        """Return the epoch's time at 0 of the clock that the processes are timed by."""
        return time.time_ns() - _now_ns()

    def finish(self) -> Seen:
        """Stop, and return the processes that were seen."""
        self._stop.set()
        self._thread.join()
        return Seen(tuple(sorted(self.seen(), key=lambda process: process.started_ns)))

    def seen(self) -> list[Process]:
        """Return the processes that were seen so far."""
        return [*self._ended, *self._live.values()]

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            self.look()

    def look(self) -> None:
        """Take one sample."""
        for process in self._new():
            # At once: it may be the parent of the next.
            self._live[process.pid] = process
        now = _now_ns()
        for pid, process in list(self._live.items()):
            if not _sample(pid, process):
                process.ended_ns = now
                self._ended.append(self._live.pop(pid))

    def _new(self) -> Iterator[Process]:
        present = set(_candidates(self._name))
        # A parent comes before its child, whose environment may be empty.
        unknown = sorted(present - self._known)
        self._known = present
        for pid in unknown:
            if pid not in self._live and (process := _find(pid, self._name, self._live)) is not None:
                yield process


def _candidates(name: str) -> list[int]:
    if sys.platform != "linux":
        import psutil

        return list(psutil.pids())
    return pids() if "=" in name else members(name)


def _find(pid: int, name: str, known: Container[int]) -> Process | None:
    """Read a process that is in the sandbox, or whose parent is; a group's members need not be asked."""
    if sys.platform != "linux":
        return find_elsewhere(pid, name, known)
    process = read_process(pid)
    if process is None or "=" not in name or process.parent in known:
        return process
    return process if sandbox_of(pid, [name]) else None


def _sample(pid: int, process: Process) -> bool:
    return sample(pid, process) if sys.platform == "linux" else sample_elsewhere(pid, process)


def find_elsewhere(pid: int, name: str, known: Container[int]) -> Process | None:
    """Do what `_find` does by psutil; None for processes that this user may not look at."""
    import psutil

    variable, _, value = name.partition("=")
    try:
        process = psutil.Process(pid)
        parent = process.ppid()
        if parent not in known and process.environ().get(variable) != value:
            return None
        return Process(pid, parent, round(process.create_time() * 1e9), argv="\0".join(process.cmdline()))
    except (psutil.Error, OSError):
        return None


def sample_elsewhere(pid: int, process: Process) -> bool:
    """Bring the figures of a process up to date by psutil; False when it is gone."""
    import psutil

    try:
        found = psutil.Process(pid)
        if round(found.create_time() * 1e9) != process.started_ns or found.status() == psutil.STATUS_ZOMBIE:
            return False
        times = found.cpu_times()
        process.user_ns, process.system_ns = round(times.user * 1e9), round(times.system * 1e9)
        process.peak_rss_bytes = max(process.peak_rss_bytes or 0, found.memory_info().rss)
    except (psutil.Error, OSError):
        return False
    return True


def _now_ns() -> int:
    # psutil tells starts in epoch time, /proc in time since the machine was started, sleep included.
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.time_ns()
