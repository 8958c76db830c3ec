"""One process as it was seen from outside of its sandbox."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

_EARLIER_CHARS = 16_384
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "ash", "busybox"})


@dataclass(slots=True)
class Process:
    """Hold what is known of one process; None is what nobody told.

    `started_ns` and `ended_ns` are nanoseconds of the monotonic clock, CPU times are nanoseconds too. `status` is the
    wait status of its end. `argv` has NUL between its words, of the last program that it was; the words of a program
    that ended before they could be read are missing, and it has those of its parent. `name` is that of its last
    program's file, at most 15 bytes of it; `shell` says that one of its programs was a shell. `programs` counts them,
    and `earlier` has the words of those before the last: a shell becomes the last command of its script.
    """

    pid: int
    parent: int | None
    started_ns: int
    ended_ns: int | None = None
    status: int | None = None
    argv: str | None = None
    user_ns: int | None = None
    system_ns: int | None = None
    peak_rss_bytes: int | None = None
    storage_read_bytes: int | None = None
    storage_write_bytes: int | None = None
    syscall_read_bytes: int | None = None
    syscall_write_bytes: int | None = None
    name: str | None = None
    shell: bool = False
    programs: int = 0
    earlier: str | None = None

    @property
    def runs_commands(self) -> bool:
        """Tell whether it is or was a shell, as far as that was seen."""
        return self.shell or (self.argv is not None and _program(self.argv) in _SHELLS)

    @property
    def exit_code(self) -> int | None:
        """Return the exit code as a shell tells it: 128 + the signal's number for a process that was killed."""
        if self.status is None:
            return None
        return 128 + (self.status & 0x7F) if self.status & 0x7F else self.status >> 8

    def becomes(self, argv: str | None) -> None:
        """Note that it has become another program, whose words may have gone unread."""
        if self.programs and self.argv and len(self.earlier or "") < _EARLIER_CHARS:
            self.earlier = f"{self.earlier or ''}{self.argv}\n"
        self.programs += 1
        self.argv = argv or self.argv
        self.shell = self.shell or (argv is not None and _program(argv) in _SHELLS)

    def as_row(self) -> list[Any]:
        # Faster than `astuple`, which copies what is in it.
        return [getattr(self, name) for name in _NAMES]


def _program(argv: str) -> str:
    return argv.partition("\0")[0].rpartition("/")[2].removeprefix("-")


_NAMES = tuple(field.name for field in fields(Process))


@dataclass(frozen=True, slots=True)
class Seen:
    """Hold all processes of a sandbox that were seen, and how many messages about processes were lost."""

    processes: tuple[Process, ...] = ()
    lost: int = 0
