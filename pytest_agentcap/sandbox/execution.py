"""One command inside a running container, its output followed as it comes."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from podman.api.client import APIClient

from pytest_agentcap.sandbox.base import SandboxError
from pytest_agentcap.sandbox.service import explained

_JSON = {"content-type": "application/json"}
_STDERR = 2
_CODE_TAKES_S = 10.0


class Sink(Protocol):
    def write(self, data: bytes, /) -> object: ...


class Execution:
    """Follow one exec of the libpod API.

    podman-py's `exec_run` either streams or tells the exit code; a session needs both.
    """

    def __init__(self, api: APIClient, exec_id: str, response: Any, stdout: Sink, stderr: Sink) -> None:
        self._api = api
        self._id = exec_id
        self._response = response
        self._sinks = (stdout, stderr)
        self._failure: Exception | None = None
        self._reader = threading.Thread(target=self._read, name=f"exec-{exec_id[:12]}", daemon=True)
        self._reader.start()

    @classmethod
    def start(
        cls,
        api: APIClient,
        container: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        user: str,
        folder: str,
        stdout: Sink,
        stderr: Sink,
    ) -> Execution:
        """Start a command in a container. Raises SandboxError when podman refuses."""
        request = {
            "Cmd": list(argv),
            "Env": [f"{name}={value}" for name, value in env.items()],
            "User": user,
            "WorkingDir": folder,
            "AttachStdout": True,
            "AttachStderr": True,
        }
        with explained(f"{argv[0]} cannot be started in the container"):
            created = api.post(f"/containers/{container}/exec", data=json.dumps(request), headers=_JSON)
            created.raise_for_status()
            exec_id = created.json()["Id"]
            response = api.post(f"/exec/{exec_id}/start", data="{}", headers=_JSON, stream=True)
            response.raise_for_status()
        return cls(api, exec_id, response, stdout, stderr)

    def wait(self, seconds: float) -> bool:
        """Wait for the end of the output; return whether it has come."""
        self._reader.join(seconds)
        return not self._reader.is_alive()

    def exit_code(self) -> int:
        """Return the exit code, once `wait` has returned True.

        Raises SandboxError when the output could not be followed to its end.
        """
        if self._failure is not None:
            raise SandboxError(f"the output of the container broke off: {self._failure}") from self._failure
        deadline = time.monotonic() + _CODE_TAKES_S
        with explained("podman does not tell how a command ended"):
            while True:
                answer = self._api.get(f"/exec/{self._id}/json")
                answer.raise_for_status()
                status = answer.json()
                if not status["Running"]:
                    return int(status["ExitCode"])
                if time.monotonic() >= deadline:
                    raise SandboxError("podman does not tell how a command ended: its output has, but it still runs")
                time.sleep(0.02)

    def _read(self) -> None:
        try:
            raw = self._response.raw
            while len(header := raw.read(8)) == 8:
                data = raw.read(int.from_bytes(header[4:], "big"))
                self._sinks[header[0] == _STDERR].write(data)
        except Exception as error:
            self._failure = error
        finally:
            self._response.close()
