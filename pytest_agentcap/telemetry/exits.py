"""The records of ended processes, from the daemon that listens to the kernel for them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from pytest_agentcap.telemetry.processes import Process, Seen

SOCKET = "telemetry.sock"
_ANSWER_S = 30.0


class ExitDaemon:
    """Own the daemon: it lives until `close`, or until this process ends."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @classmethod
    def start(cls, folder: Path) -> ExitDaemon | None:
        """Start the daemon with its socket in a folder; None where the kernel does not tell this user of processes."""
        if sys.platform != "linux" or os.geteuid() != 0:
            return None
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "pytest_agentcap.telemetry.daemon", str(folder / SOCKET)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdout is not None
        daemon = cls(process)
        if process.stdout.readline().strip() != b"ready":
            daemon.close()
            return None
        return daemon

    def close(self) -> None:
        """End the daemon; safe to call twice."""
        if self._process.stdin and not self._process.stdin.closed:
            self._process.stdin.close()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()


class ExitRecords:
    """Have a sandbox's processes recorded by the daemon while a session runs."""

    def __init__(self, connection: socket.socket, name: str) -> None:
        self._connection, self._name = connection, name
        self._answers = connection.makefile("rb")

    @classmethod
    def follow(cls, folder: Path, name: str) -> ExitRecords | None:
        """Begin with the sandbox of this name, see `sandbox_of`; None when there is no daemon."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(_ANSWER_S)
            connection.connect(str(folder / SOCKET))
            records = cls(connection, name)
            records._ask("follow")
        except (OSError, ValueError):
            connection.close()
            return None
        return records

    def finish(self) -> Seen | None:
        """Return the processes of the sandbox; None when the daemon is gone."""
        try:
            told = self._ask("finish")
            return Seen(tuple(Process(*row) for row in told["processes"]), told["lost"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        finally:
            self._answers.close()
            self._connection.close()

    def _ask(self, verb: str) -> dict[str, Any]:
        self._connection.sendall(json.dumps({verb: self._name}).encode() + b"\n")
        answer = json.loads(self._answers.readline())
        if not isinstance(answer, dict):
            raise ValueError("no object")
        return answer
