"""One home over many tasks: a sandbox that is lent to one session after another."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from pytest_agentcap.sandbox.base import Command, Completed, Doorway, Program, Sandbox, SandboxError, SandboxOptions
from pytest_agentcap.sandbox.base import SandboxSession as Box

_CLAIMS = "homes"
# An agent on the host could have put a link to other files in the workspace's place.
_EMPTY = '[ ! -L "$0" ] && chmod -R u+rwX . && find . -mindepth 1 -delete'
_EMPTY_S = 60.0


class SharedHome:
    """Be the sandbox of sessions that share a home, in their order; each gets an empty workspace.

    `claim` is a file that says which process has this home. `earlier` collects what those sessions left in it, so that
    each one's log and session id can be told from the others'.
    """

    def __init__(self, sandbox: Sandbox, claim: Path) -> None:
        self._sandbox, self._claim = sandbox, claim
        self._box: Box | None = None
        self.earlier: set[tuple[str, str]] = set()

    def prepare(self, progress: Callable[[str], None]) -> None:
        self._sandbox.prepare(progress)

    def start(self, name: str, doorway: Doorway, options: SandboxOptions) -> LentBox:
        """Start the sandbox for the first session, lend it again to the others.

        Raises SandboxError, also when another worker of pytest-xdist has had this home.
        """
        if self._box is None:
            self._take()
            self._box = self._sandbox.start(name, doorway, options)
        else:
            _empty(self._box)
        return LentBox(self._box)

    def close(self) -> None:
        box, self._box = self._box, None
        if box is not None:
            box.close()

    def _take(self) -> None:
        self._claim.parent.mkdir(exist_ok=True)
        with contextlib.suppress(FileExistsError), self._claim.open("x") as file:
            file.write(str(os.getpid()))
        if self._claim.read_text() != str(os.getpid()):
            raise SandboxError(
                "the tasks of this corpus share one home, and another worker has it or died with it: run them without "
                "-n, or with --dist load, loadfile or loadscope, which keep them on one worker"
            )


class LentBox:
    """Be a session's sandbox that goes on when the session ends; only the agent's processes do not."""

    def __init__(self, box: Box) -> None:
        self._box = box

    @property
    def home(self) -> str:
        return self._box.home

    @property
    def workspace(self) -> str:
        return self._box.workspace

    @property
    def proxy_origin(self) -> str:
        return self._box.proxy_origin

    @property
    def skills(self) -> str | None:
        return self._box.skills

    @property
    def processes(self) -> str:
        return self._box.processes

    def put(self, path: str, data: bytes, mode: int = 0o644) -> None:
        self._box.put(path, data, mode)

    def put_tree(self, source: Path, path: str) -> None:
        self._box.put_tree(source, path)

    def run(self, command: Command, tick: Callable[[], None]) -> Completed:
        return self._box.run(command, tick)

    def converse(self, command: Command) -> Program:
        return self._box.converse(command)

    def end_agent(self) -> None:
        self._box.end_agent()

    def stop(self) -> None:
        self._box.end_agent()

    def copy_out(self, path: str, into: Path) -> Sequence[str]:
        return self._box.copy_out(path, into)

    def copy_entry(self, path: str, into: Path) -> Sequence[str]:
        return self._box.copy_entry(path, into)

    def close(self) -> None:
        self._box.end_agent()


class Homes:
    """Keep the shared homes of the group of tasks that this worker is at; those of the group before it are removed."""

    def __init__(self, state: Path) -> None:
        self._claims = state / _CLAIMS
        self._group = ""
        self._open: dict[int, SharedHome] = {}

    def find(self, sandbox: Sandbox, group: str, trial: int) -> SharedHome:
        """Return the home of a group of tasks in one of its trials."""
        if group != self._group:
            self.close()
            self._group = group
        if trial not in self._open:
            name = hashlib.sha256(f"{group}\n{trial}".encode()).hexdigest()
            self._open[trial] = SharedHome(sandbox, self._claims / name)
        return self._open[trial]

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()


def _empty(box: Box) -> None:
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "said"
        done = box.run(Command(["sh", "-c", _EMPTY, box.workspace], {}, None, said, said, _EMPTY_S), lambda: None)
        if done.exit_code != 0:
            why = said.read_text("utf-8", "replace").strip().split("\n")[-1]
            raise SandboxError(
                f"the workspace in a shared home cannot be emptied: {why or 'it is a link, or it takes too long'}"
            )
