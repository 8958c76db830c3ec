"""The processes of the sandboxes that are followed, out of the stream of all processes of the machine."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field

from pytest_agentcap.telemetry.netlink import ProcessEvent, TaskRecord
from pytest_agentcap.telemetry.processes import Process, Seen

# What one sandbox may fill this process's memory with: a fork bomb is told as lost messages.
_MOST = 200_000


@dataclass(slots=True)
class _Followed:
    live: dict[int, Process] = field(default_factory=dict)
    ended: list[Process] = field(default_factory=list)
    lost: int = 0


@dataclass(slots=True)
class ProcessTable:
    """Keep the processes of each followed sandbox.

    A process belongs to the sandbox of its parent. One whose parent belongs to none is asked, when it becomes another
    program, by `sandbox_of`, which returns one of the names that are followed or None: that is how the first process of
    a container, and each that is put into it, is found. `argv_of` returns its words. Both read /proc, where a process
    may be gone. Forks must come before the records of the processes that they made.
    """

    sandbox_of: Callable[[int, Iterable[str]], str | None]
    argv_of: Callable[[int], str | None]
    _followed: dict[str, _Followed] = field(default_factory=dict)
    _names: dict[int, str] = field(default_factory=dict)

    def follow(self, name: str, running: Iterable[Process] = ()) -> None:
        """Begin to keep the processes of a sandbox; `running` are those that are there already."""
        followed = self._followed.setdefault(name, _Followed())
        for process in running:
            if process.pid not in self._names:
                self._names[process.pid] = name
                followed.live[process.pid] = process

    def forget(self, name: str) -> Seen:
        """Return all that was kept of a sandbox, and keep it no longer."""
        followed = self._followed.pop(name, _Followed())
        for pid in followed.live:
            self._names.pop(pid, None)
        found = sorted([*followed.ended, *followed.live.values()], key=lambda process: process.started_ns)
        return Seen(tuple(found), followed.lost)

    def note_loss(self) -> None:
        """Remember that messages were lost, of whichever process."""
        for followed in self._followed.values():
            followed.lost += 1

    def add_event(self, event: ProcessEvent, ended: Container[int] = ()) -> None:
        """Add an event; `ended` are processes that are known to be gone by now, of which nothing can be read."""
        if event.what == "fork":
            self._fork(event)
        elif event.what == "exec":
            self._exec(event, ended)
        elif event.pid in self._names:
            process = self._followed[self._names[event.pid]].live[event.pid]
            process.ended_ns, process.status = event.at_ns, event.status

    def add_record(self, record: TaskRecord) -> None:
        """Add what a task used to its process; threads end one by one."""
        pid = record.tgid or record.pid
        name = self._names.get(pid)
        if name is None:
            return
        process = self._followed[name].live[pid]
        if record.pid == pid:
            process.name = record.name or None
        process.user_ns = (process.user_ns or 0) + record.user_ns
        process.system_ns = (process.system_ns or 0) + record.system_ns
        process.peak_rss_bytes = max(process.peak_rss_bytes or 0, record.peak_rss_bytes)
        process.storage_read_bytes = (process.storage_read_bytes or 0) + record.storage_read_bytes
        process.storage_write_bytes = (process.storage_write_bytes or 0) + record.storage_write_bytes
        process.syscall_read_bytes = (process.syscall_read_bytes or 0) + record.syscall_read_bytes
        process.syscall_write_bytes = (process.syscall_write_bytes or 0) + record.syscall_write_bytes

    def _fork(self, event: ProcessEvent) -> None:
        name = self._names.get(event.parent or 0)
        self._retire(event.pid)
        if name is not None:
            parent = self._followed[name].live[event.parent or 0]
            self._add(name, Process(event.pid, event.parent, event.at_ns, argv=parent.argv))

    def _exec(self, event: ProcessEvent, ended: Container[int]) -> None:
        name = self._names.get(event.pid)
        if name is None and self._followed:
            name = self.sandbox_of(event.pid, self._followed)
            if name is not None:
                self._add(name, Process(event.pid, None, event.at_ns))
        if name is not None and event.pid in self._names:
            process = self._followed[name].live[event.pid]
            process.becomes(None if event.pid in ended else self.argv_of(event.pid))

    def _add(self, name: str, process: Process) -> None:
        followed = self._followed[name]
        if len(followed.live) + len(followed.ended) >= _MOST:
            followed.lost += 1
            return
        self._names[process.pid] = name
        followed.live[process.pid] = process

    def _retire(self, pid: int) -> None:
        """Put a process away whose number is given to another."""
        name = self._names.pop(pid, None)
        if name is not None:
            followed = self._followed[name]
            followed.ended.append(followed.live.pop(pid))
