"""The seam between a session and the place its agent runs in."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


class SandboxError(Exception):
    """Say in one line what of the sandbox does not work and what to do about it."""


class Endpoint(Protocol):
    """One listening socket that the capture proxy serves."""

    def close(self) -> None: ...


class Doorway(Protocol):
    """What a sandbox needs of the capture proxy: somebody who serves the socket it has bound."""

    def listen(self, sock: socket.socket) -> Endpoint: ...


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """Bound what a sandbox may use, and name what it may read.

    `network` is `model` (the proxy and nothing else) or `open`; `memory` and `disk` are sizes such as `512m`, `disk`
    that of all files the sandbox has written; `skills` and `tools` are host folders that can be read inside. So are
    those of `data`, by the absolute paths at which they are found; only containers can do that.
    """

    network: str = "model"
    memory: str = "4g"
    pids: int = 1024
    cpus: float = 2.0
    disk: str = "10g"
    skills: Path | None = None
    tools: Path | None = None
    data: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Completed:
    """Tell how one command ended; `exit_code` is None when it was killed at its deadline or for its use of the disk.

    `limit` says in words which limit was reached meanwhile, whether or not the command survived it.
    """

    exit_code: int | None
    timed_out: bool
    duration_s: float
    limit: str | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """Describe one command inside a sandbox; its output goes to two host files as it comes."""

    argv: Sequence[str]
    env: Mapping[str, str]
    stdin: bytes | None
    stdout: Path
    stderr: Path
    timeout_s: float


class Program(Protocol):
    """A started program whose standard input stays open; `errors` is the host file that its stderr is added to."""

    errors: Path

    def send(self, data: bytes) -> None:
        """Hand it some input; this does not wait until it is read."""

    def receive(self, seconds: float) -> bytes | None:
        """Return its next line; None when none comes in that time, an empty one at the end of its output."""

    def exit_code(self) -> int:
        """Wait for its end, which is near once its output has ended."""


class SandboxSession(Protocol):
    """One started sandbox: a fresh home and workspace, kept over all turns of a session.

    `home`, `workspace` and `skills` are paths as the agent sees them, `skills` None without such a folder;
    `proxy_origin` is the proxy's `http://host:port` as seen from inside. `processes` is what its processes are known by
    on this machine: the path of their control group, or NAME=value in their environment; empty when they are elsewhere.
    """

    @property
    def home(self) -> str: ...
    @property
    def workspace(self) -> str: ...
    @property
    def proxy_origin(self) -> str: ...
    @property
    def skills(self) -> str | None: ...
    @property
    def processes(self) -> str: ...

    def put(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Write one file that the agent's user owns; parent folders are made."""

    def put_tree(self, source: Path, path: str) -> None:
        """Copy a host folder's content into a folder inside; regular files, folders and links as links."""

    def run(self, command: Command, tick: Callable[[], None]) -> Completed:
        """Run a command in the workspace; `tick` is called a few times a second and may raise to end it."""

    def converse(self, command: Command) -> Program:
        """Start a program in the workspace to speak with; it lives until the agent is ended.

        Raises SandboxError, also where the sandbox cannot do that.
        """

    def end_agent(self) -> None:
        """End every process of the agent, TERM then KILL; further commands can be run."""

    def stop(self) -> None:
        """End every process of the agent, TERM then KILL; the files stay readable, nothing can be run any more."""

    def copy_out(self, path: str, into: Path) -> Sequence[str]:
        """Copy a folder to an empty host folder by the rules of `copyout`; return what was left out, a line each."""

    def copy_entry(self, path: str, into: Path) -> Sequence[str]:
        """Copy a file or a folder likewise, under its own name.

        Raises SandboxError, also where the sandbox cannot do that.
        """

    def close(self) -> None:
        """Stop and remove everything; safe to call twice."""


class Sandbox(Protocol):
    """An agent's sandbox, shared by the sessions of one worker."""

    def prepare(self, progress: Callable[[str], None]) -> None:
        """Build or find what sessions start from (an image, an executable); memoised.

        Raises SandboxError.
        """

    def start(self, name: str, doorway: Doorway, options: SandboxOptions) -> SandboxSession:
        """Start a session's sandbox; `name` is ASCII and short.

        Raises SandboxError.
        """
