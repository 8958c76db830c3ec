"""The sandbox without isolation: a temporary home and workspace on this machine."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import IO

from pytest_agentcap.sandbox.base import Command, Completed, Doorway, SandboxError, SandboxOptions
from pytest_agentcap.sandbox.copyout import CopyLimits, copy_tree
from pytest_agentcap.sandbox.files import remove_tree, special_files
from pytest_agentcap.sandbox.host_program import HostProgram
from pytest_agentcap.sandbox.reaper import SESSION_VARIABLE, OwnerState, end_processes
from pytest_agentcap.sandbox.tools import tool_environment

# Whatever else this process knows (keys, tokens, sockets of other programs) stays here.
_ALLOWED = ("PATH", "LANG", "TERM", "TZ")
_ALLOWED_PREFIX = "LC_"
# What pytest and this project tell their own processes.
_OURS = ("PYTEST_", "AGENTCAP_")
_BACKLOG = 512
_TICK_S = 0.1
_GRACE_S = 2.0


class HostSandbox:
    """Run an agent that is installed on this machine; `executable` is its program, None when none has to be found.

    One that `inherits` has this process's environment and home.

    What the options say of network and limits cannot be held to here: there is no isolation.
    """

    def __init__(
        self, executable: str | None, state: OwnerState, limits: CopyLimits | None = None, *, inherits: bool = False
    ) -> None:
        self._executable = executable
        self._inherits = inherits
        self._state = state
        self._limits = limits or CopyLimits()

    def prepare(self, progress: Callable[[str], None]) -> None:
        if self._executable is not None and shutil.which(self._executable) is None:
            raise SandboxError(
                f"{self._executable} is not on PATH: install it, or use --sandbox podman if it has an image"
            )

    def start(self, name: str, doorway: Doorway, options: SandboxOptions) -> HostSession:
        self.prepare(lambda _line: None)
        if options.data:
            # This machine's own folders of these names, if any, are not what the task is about.
            raise SandboxError(f"only a container can have {', '.join(options.data)}; use --sandbox podman")
        with ExitStack() as stack:
            # Without the session's name: agents make unix sockets in here, whose paths may have 107 bytes at most.
            folder = Path(tempfile.mkdtemp(dir=self._state.folder))
            stack.callback(remove_tree, folder)
            for part in ("home", "work", "tmp"):
                (folder / part).mkdir()
            listener = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            listener.bind(("127.0.0.1", 0))
            # From here on a connection waits for whoever serves the socket, instead of being refused.
            listener.listen(_BACKLOG)
            stack.callback(doorway.listen(listener).close)
            return HostSession(
                folder,
                listener.getsockname()[1],
                options,
                self._state,
                self._limits,
                stack.pop_all(),
                inherits=self._inherits,
            )


class HostSession:
    """One temporary home and workspace, and the processes that carry this session's marker."""

    def __init__(
        self,
        folder: Path,
        port: int,
        options: SandboxOptions,
        state: OwnerState,
        limits: CopyLimits,
        stack: ExitStack,
        *,
        inherits: bool = False,
    ) -> None:
        self._inherits = inherits
        self.home = str(folder / "home")
        self.workspace = str(folder / "work")
        self.proxy_origin = f"http://127.0.0.1:{port}"
        self.skills = str(options.skills) if options.skills else None
        self._tools = options.tools
        self._folder = folder
        self._state = state
        self._limits = limits
        self._stack = stack
        self._marker = secrets.token_hex(8)
        self._programs: list[tuple[subprocess.Popen[bytes], HostProgram]] = []

    @property
    def processes(self) -> str:
        return f"{SESSION_VARIABLE}={self._marker}"

    def put(self, path: str, data: bytes, mode: int = 0o644) -> None:
        target = self._inside(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        # A new file in place of whatever is there: a link that an agent left is replaced, not written through.
        target.unlink(missing_ok=True)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)

    def put_tree(self, source: Path, path: str) -> None:
        target = self._inside(path)
        try:
            # A home that several sessions share has the links of the session before.
            for link in (each for each in source.rglob("*") if each.is_symlink()):
                (target / link.relative_to(source)).unlink(missing_ok=True)
            shutil.copytree(source, target, symlinks=True, ignore=special_files, dirs_exist_ok=True)
        except (OSError, shutil.Error) as error:
            raise SandboxError(f"{source} cannot be copied into the sandbox: {error}") from error

    def run(self, command: Command, tick: Callable[[], None]) -> Completed:
        started = time.monotonic()
        with ExitStack() as files:
            stdin: int | IO[bytes] = subprocess.DEVNULL
            if command.stdin is not None:
                stdin = files.enter_context(tempfile.TemporaryFile())
                stdin.write(command.stdin)
                stdin.seek(0)
            stdout = files.enter_context(command.stdout.open("ab"))
            stderr = files.enter_context(command.stderr.open("ab"))
            process = self._start(command, stdin, stdout, stderr)
            try:
                timed_out = _wait(process, started + command.timeout_s, tick)
            finally:
                self._end_marked()
                _kill_group(process)
        return Completed(None if timed_out else process.returncode, timed_out, time.monotonic() - started)

    def converse(self, command: Command) -> HostProgram:
        process = self._start(command, subprocess.PIPE, subprocess.PIPE, subprocess.PIPE)
        program = HostProgram(process, command.stderr)
        self._programs.append((process, program))
        return program

    def end_agent(self) -> None:
        self._end_marked()
        while self._programs:
            process, program = self._programs.pop()
            _kill_group(process)
            program.close()

    def stop(self) -> None:
        self.end_agent()

    def copy_out(self, path: str, into: Path) -> Sequence[str]:
        return copy_tree(self._inside(path), into, self._limits, trusted=self._folder)

    def copy_entry(self, path: str, into: Path) -> Sequence[str]:
        raise SandboxError("a file by itself cannot be copied out of this machine's sandbox: use --sandbox podman")

    def close(self) -> None:
        try:
            self.end_agent()
        finally:
            self._stack.close()

    def _start(
        self, command: Command, stdin: int | IO[bytes], stdout: int | IO[bytes], stderr: int | IO[bytes]
    ) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                list(command.argv),
                cwd=self.workspace,
                env=self._environment() | dict(command.env) | self._markers(),
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        except OSError as error:
            raise SandboxError(f"{command.argv[0]} cannot be started: {error}") from error

    def _environment(self) -> dict[str, str]:
        own = {"TMPDIR": str(self._folder / "tmp")}
        if self._inherits:
            allowed = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        else:
            allowed = {
                name: value
                for name, value in os.environ.items()
                if name in _ALLOWED or name.startswith(_ALLOWED_PREFIX)
            }
            own["HOME"] = self.home
        if self.skills:
            own["AGENTCAP_SKILLS_DIR"] = self.skills
        if self._tools:
            own |= tool_environment(self._tools, str(self._tools), allowed.get("PATH", os.defpath))
        return allowed | own

    def _markers(self) -> dict[str, str]:
        return {**self._state.environment(), SESSION_VARIABLE: self._marker}

    def _end_marked(self) -> None:
        end_processes(SESSION_VARIABLE, self._marker, _GRACE_S)

    def _inside(self, path: str) -> Path:
        target = Path(self.workspace) / path
        if not target.is_relative_to(self._folder) or ".." in PurePosixPath(path).parts:
            raise SandboxError(f"{path} is outside of the sandbox's home and workspace")
        return target


def _wait(process: subprocess.Popen[bytes], deadline: float, tick: Callable[[], None]) -> bool:
    """Wait for the end of a command; return whether its deadline came first."""
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(min(_TICK_S, max(0.0, deadline - time.monotonic())))
            return False
        tick()
        if time.monotonic() >= deadline:
            return True


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """End those of a command's process group that have cleared their environment, and with it the marker."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
