"""A started sandbox whose commands begin in a folder of its workspace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_agentcap.sandbox.base import Command, Completed, Program, SandboxSession

_ENTER = 'cd -- "$1" && shift && exec "$@"'


@dataclass(frozen=True, slots=True)
class InFolder:
    """Show an agent a folder of another sandbox's workspace as the workspace; all else is the other's."""

    box: SandboxSession
    folder: str

    @property
    def home(self) -> str:
        return self.box.home

    @property
    def workspace(self) -> str:
        return f"{self.box.workspace}/{self.folder}"

    @property
    def proxy_origin(self) -> str:
        return self.box.proxy_origin

    @property
    def skills(self) -> str | None:
        return self.box.skills

    @property
    def processes(self) -> str:
        return self.box.processes

    def put(self, path: str, data: bytes, mode: int = 0o644) -> None:
        self.box.put(path if path.startswith("/") else f"{self.folder}/{path}", data, mode)

    def put_tree(self, source: Path, path: str) -> None:
        self.box.put_tree(source, path)

    def run(self, command: Command, tick: Callable[[], None]) -> Completed:
        return self.box.run(self._entered(command), tick)

    def converse(self, command: Command) -> Program:
        return self.box.converse(self._entered(command))

    def end_agent(self) -> None:
        self.box.end_agent()

    def stop(self) -> None:
        self.box.stop()

    def copy_out(self, path: str, into: Path) -> Sequence[str]:
        return self.box.copy_out(path, into)

    def copy_entry(self, path: str, into: Path) -> Sequence[str]:
        return self.box.copy_entry(path, into)

    def close(self) -> None:
        self.box.close()

    def _entered(self, command: Command) -> Command:
        return replace(command, argv=["sh", "-c", _ENTER, "sh", self.workspace, *command.argv])
