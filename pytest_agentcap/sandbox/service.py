"""The podman service that workers talk to: one for a pytest session, started by its controller."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
import urllib3
from podman import PodmanClient
from podman.errors import APIError, PodmanError

from pytest_agentcap.sandbox.base import SandboxError
from pytest_agentcap.sandbox.machine import machine_uri
from pytest_agentcap.sandbox.reaper import OwnerState

_START_S = 60.0
_STOP_S = 10.0
_POLL_S = 0.05
_INSTALL = "install it (Debian, Ubuntu: apt-get install podman; macOS: brew install podman) or use --sandbox host"


class PodmanService:
    """A podman API service; `uri` is what workers need of it."""

    def __init__(self, uri: str, process: subprocess.Popen[bytes] | None) -> None:
        self.uri = uri
        self._process = process

    @classmethod
    def start(cls, state: OwnerState, progress: Callable[[str], None] = lambda _line: None) -> PodmanService:
        """Use the service that CONTAINER_HOST names, else start one that lives as long as this object is open.

        On macOS it is the one in podman's virtual machine, which is started if need be.

        Raises SandboxError when podman is absent or its service does not answer.
        """
        state.note_podman()
        if uri := os.environ.get("CONTAINER_HOST"):
            return cls._running(uri, "start that service, or unset CONTAINER_HOST")
        if shutil.which("podman") is None:
            raise SandboxError(f"podman is not installed: {_INSTALL}")
        if sys.platform == "darwin":
            return cls._running(machine_uri(progress), "start the virtual machine with: podman machine start")
        return cls._started(state)

    def client(self) -> PodmanClient:
        """Open a client; the caller closes it."""
        return connect(self.uri)

    def close(self) -> None:
        """End the service if it was started here; containers are not touched. Safe to call twice."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @classmethod
    def _running(cls, uri: str, advice: str) -> PodmanService:
        if (trouble := _trouble(uri)) is not None:
            raise SandboxError(f"no podman service answers at {uri} ({trouble}): {advice}")
        return cls(uri, None)

    @classmethod
    def _started(cls, state: OwnerState) -> PodmanService:
        socket = state.folder / "podman.sock"
        log = state.folder / "podman-service.log"
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                ["podman", "system", "service", "--time=0", f"unix://{socket}"],
                env={**os.environ, **state.environment()},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                # A terminal's Ctrl-C goes to the whole foreground group; the service is needed to clean up after it.
                start_new_session=True,
            )
        service = cls(f"unix://{socket}", process)
        try:
            service._wait(process, log)
        except BaseException:
            service.close()
            raise
        return service

    def _wait(self, process: subprocess.Popen[bytes], log: Path) -> None:
        deadline = time.monotonic() + _START_S
        while (trouble := _trouble(self.uri)) is not None:
            if process.poll() is not None:
                said = last_line(log.read_text(errors="replace")) or f"exit code {process.returncode}"
                raise SandboxError(f"podman's service ended at once ({said}): mend podman or use --sandbox host")
            if time.monotonic() >= deadline:
                raise SandboxError(f"podman's service does not answer ({trouble}): mend podman or use --sandbox host")
            time.sleep(_POLL_S)


def connect(uri: str) -> PodmanClient:
    """Open a client to the service at `uri`; the caller closes it."""
    return PodmanClient(base_url=uri)


def podman_info(client: PodmanClient) -> dict[str, Any]:
    """Return what podman tells of its host. Raises SandboxError."""
    with explained("podman does not tell how it is set up"):
        answer = client.api.get("/info")
        answer.raise_for_status()
        info: dict[str, Any] = answer.json()
        return info


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turn what podman's client raises into a SandboxError of one line that begins with `doing`."""
    try:
        yield
    except (requests.RequestException, urllib3.exceptions.HTTPError, PodmanError) as error:
        raise SandboxError(f"{doing}: {explanation(error)}") from error


def explanation(error: Exception) -> str:
    """Return in one line what podman said."""
    text = error.explanation if isinstance(error, APIError) and error.explanation else str(error)
    return " ".join(text.split())


def last_line(text: str) -> str:
    """Return the last line that is not blank, or the empty string."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _trouble(uri: str) -> str | None:
    try:
        with connect(uri) as client:
            return None if client.ping() else "it does not answer a ping"
    except (requests.RequestException, urllib3.exceptions.HTTPError, PodmanError, ValueError) as error:
        return explanation(error)
