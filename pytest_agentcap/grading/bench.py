"""Where a command grader executes what the agent wrote: a sandbox of its own, with a copy of the frozen workspace."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_agentcap.grading.base import BenchError
from pytest_agentcap.grading.process import MAX_OUTPUT_BYTES, Finished
from pytest_agentcap.sandbox.base import Command, Completed, Sandbox, SandboxError, SandboxOptions
from pytest_agentcap.sandbox.egress import ClosedDoor


@dataclass(frozen=True, slots=True)
class SandboxBench:
    """Run each program in a new sandbox of the agent's kind, without the proxy, the network and the agent's home.

    Nothing that it writes comes back but its output. The sandbox `host` has no such limits: see docs/graders.md.
    """

    sandbox: Sandbox
    options: SandboxOptions
    workspace: Path
    name: str

    def run(self, argv: Sequence[str], timeout_s: float) -> Finished:
        """Run a program in a copy of the workspace, and stop it after `timeout_s` or too much output."""
        options = replace(self.options, network="model", skills=None)
        with tempfile.TemporaryDirectory(prefix="agentcap-bench-") as folder:
            out, err = Path(folder) / "out", Path(folder) / "err"
            command = Command(argv, {}, None, out, err, timeout_s)
            flooded, door = None, ClosedDoor()
            try:
                with closing(self.sandbox.start(f"{self.name[:40]}-grader", door, options)) as box:
                    door.close()
                    box.put_tree(self.workspace, box.workspace)
                    completed = box.run(command, lambda: _check_size(out, err))
            except _Flooded:
                flooded, completed = f"wrote more than {MAX_OUTPUT_BYTES} bytes", Completed(None, False, 0.0)
            except (SandboxError, OSError) as error:
                raise BenchError(str(error)) from error
            return Finished(
                completed.exit_code, _content(out), _content(err), flooded or _stopped(completed, timeout_s)
            )


class _Flooded(Exception):
    """Say that a program writes too much."""


def _check_size(*outputs: Path) -> None:
    if any(output.exists() and output.stat().st_size > MAX_OUTPUT_BYTES for output in outputs):
        raise _Flooded


def _stopped(completed: Completed, timeout_s: float) -> str | None:
    if completed.timed_out:
        return f"did not finish within {timeout_s:g} s"
    return (completed.limit or "was killed") if completed.exit_code is None else None


def _content(path: Path) -> bytes:
    if not path.exists():
        return b""
    with path.open("rb") as file:
        return file.read(MAX_OUTPUT_BYTES)
