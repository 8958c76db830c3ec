"""One container of a session: commands run in it, files, limits, and its end."""

from __future__ import annotations

import io
import re
import secrets
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from podman import PodmanClient

from pytest_agentcap.sandbox.base import Command, Completed, Program, SandboxError, SandboxOptions
from pytest_agentcap.sandbox.container_files import ContainerFiles
from pytest_agentcap.sandbox.copyout import CopyLimits
from pytest_agentcap.sandbox.egress import RELAY_PORT, ready_command
from pytest_agentcap.sandbox.execution import Execution
from pytest_agentcap.sandbox.limits import Counters, DiskWatch
from pytest_agentcap.sandbox.service import explained

HOME = "/home/agent"
WORKSPACE = "/work"
SKILLS = "/opt/agentcap/skills"

_USER = "agent"
_KILLED = 128 + signal.SIGKILL
_TICK_S = 0.1
_READY_S = 30.0
_END_S = 10.0
# The agent's user may signal all of the session but the relay and the container's first process.
_END_ALL = """kill -s TERM -- -1
i=0
while [ "$i" -lt 20 ]; do
    others=
    for process in /proc/[0-9]*; do
        if [ -O "$process" ] && [ "$process" != "/proc/$$" ]; then others=1; fi
    done
    [ -n "$others" ] || exit 0
    i=$((i + 1))
    sleep 0.1
done
kill -s KILL -- -1
exit 0"""
_RUNTIME_TROUBLE = re.compile(r"rlimit|cgroup|OCI|crun|runc|sd-bus", re.IGNORECASE)


class PodmanSession:
    """One container: its first process is the relay, each turn is an exec by the agent's user."""

    home = HOME
    proxy_origin = f"http://127.0.0.1:{RELAY_PORT}"

    def __init__(
        self,
        client: PodmanClient,
        container: str,
        options: SandboxOptions,
        limits: CopyLimits,
        stack: ExitStack,
        workspace: str = WORKSPACE,
    ) -> None:
        self.workspace = workspace
        self.skills = SKILLS if options.skills else None
        self._client = client
        self._container = container
        self._options = options
        self._limits = limits
        self._stack = stack
        self._files = ContainerFiles(client.api, container)
        self._disk = DiskWatch(options.disk, self._written)
        self._cgroup = ""

    def open(self) -> None:
        """Start the container and wait until the proxy can be reached from inside. Raises SandboxError."""
        try:
            self._post("start", "podman cannot start a container")
        except SandboxError as error:
            if _RUNTIME_TROUBLE.search(str(error)):
                raise SandboxError(
                    f"{error}; run tools/configure-podman as root, or set CONTAINERS_CONF to a file "
                    "with the settings in docs/capture.md"
                ) from error
            raise
        code, said = self._quietly(ready_command(), _READY_S)
        if code != 0:
            reason = said or "the relay does not come up"
            raise SandboxError(f"the proxy cannot be reached from inside the container: {reason}")
        self._cgroup = str(self._inspect()["State"].get("CgroupPath") or "")

    @property
    def processes(self) -> str:
        # Where podman runs in a virtual machine, that machine's groups are not here.
        return self._cgroup if sys.platform == "linux" else ""

    def put(self, path: str, data: bytes, mode: int = 0o644) -> None:
        self._files.put(PurePosixPath(self.workspace) / path, data, mode)

    def put_tree(self, source: Path, path: str) -> None:
        self._files.put_tree(source, PurePosixPath(self.workspace) / path)

    def run(self, command: Command, tick: Callable[[], None]) -> Completed:
        started = time.monotonic()
        argv = list(command.argv)
        if command.stdin is not None:
            stdin = f"/tmp/agentcap-{secrets.token_hex(8)}"
            self.put(stdin, command.stdin, 0o600)
            argv = ["sh", "-c", 'exec <"$0" && rm -f "$0" && exec "$@"', stdin, *argv]
        with command.stdout.open("ab", buffering=0) as stdout, command.stderr.open("ab", buffering=0) as stderr:
            before = Counters.read(self._cgroup)
            execution = Execution.start(
                self._client.api, self._container, argv, command.env, _USER, self.workspace, stdout, stderr
            )
            try:
                ended = _wait(execution, started + command.timeout_s, tick, self._disk)
                code = None if ended else execution.exit_code()
            except BaseException as error:
                try:
                    self._end_turn(execution)
                except SandboxError as trouble:
                    error.add_note(f"ending the agent's processes failed as well: {trouble}")
                raise
            if ended:
                self._end_turn(execution)
        duration_s = time.monotonic() - started
        limit = (ended.limit if ended else None) or self._reached_since(before, code)
        if code and limit is None and not self._inspect()["State"].get("Running"):
            # An agent cannot end the first process, which is another user's.
            raise SandboxError("the container ended while the agent ran: something outside of the session killed it")
        return Completed(code, ended is not None and ended.limit is None, duration_s, limit)

    def converse(self, command: Command) -> Program:
        raise SandboxError("a program cannot be spoken with in a container yet: use --sandbox host")

    def end_agent(self) -> None:
        """End all of the agent's processes, or the whole container when no process can be started to do it."""
        try:
            ended = self._quietly(["sh", "-c", _END_ALL], _END_S)[0] == 0
        except SandboxError:
            ended = False
        if not ended:
            self._kill()

    def stop(self) -> None:
        self.end_agent()
        self._kill()

    def copy_out(self, path: str, into: Path) -> Sequence[str]:
        return self._files.copy_out(PurePosixPath(self.workspace) / path, into, self._limits)

    def copy_entry(self, path: str, into: Path) -> Sequence[str]:
        entry = PurePosixPath(self.workspace) / path
        return self._files.copy_out(entry, into, self._limits, root=entry.name)

    def close(self) -> None:
        self._stack.close()

    def _reached_since(self, before: Counters, code: int | None) -> str | None:
        if (said := Counters.read(self._cgroup).reached_since(before, self._options)) is not None:
            return said
        # The container's first process may be the one that was killed: then its cgroup is gone.
        if code == _KILLED and self._inspect()["State"].get("OOMKilled"):
            return f"the memory limit of {self._options.memory} was reached, and the container was killed"
        return self._disk.now()

    def _written(self) -> int:
        return int(self._inspect(size=True).get("SizeRw") or 0)

    def _inspect(self, size: bool = False) -> dict[str, Any]:
        with explained("podman does not tell how a container is"):
            answer = self._client.api.get(f"/containers/{self._container}/json", params={"size": str(size).lower()})
            answer.raise_for_status()
            facts: dict[str, Any] = answer.json()
            return facts

    def _end_turn(self, execution: Execution) -> None:
        self.end_agent()
        # What the agent said last is still on its way.
        execution.wait(_END_S)

    def _kill(self) -> None:
        self._post("stop?timeout=0", "podman cannot end a container")

    def _quietly(self, argv: Sequence[str], timeout_s: float) -> tuple[int | None, str]:
        said = io.BytesIO()
        execution = Execution.start(self._client.api, self._container, argv, {}, _USER, "/", said, said)
        code = execution.exit_code() if execution.wait(timeout_s) else None
        return code, " ".join(said.getvalue().decode(errors="replace").split())

    def _post(self, action: str, doing: str) -> None:
        with explained(doing):
            self._client.api.post(f"/containers/{self._container}/{action}").raise_for_status()


@dataclass(frozen=True, slots=True)
class _Cut:
    """Say that a command is to be ended: for its use of the disk, or at its deadline."""

    limit: str | None = None


def _wait(execution: Execution, deadline: float, tick: Callable[[], None], disk: DiskWatch) -> _Cut | None:
    """Wait for the end of a command; return why it has to be ended instead, or None."""
    while not execution.wait(min(_TICK_S, max(0.0, deadline - time.monotonic()))):
        tick()
        if (said := disk.when_due()) is not None:
            return _Cut(said)
        if time.monotonic() >= deadline:
            return _Cut()
    return None
