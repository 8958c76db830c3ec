"""Drive an adapter that speaks JSON-RPC: one process for the whole session, one prompt a turn."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_agentcap.agents.driver import Answer, Scene
from pytest_agentcap.agents.rpc import (
    INTERNAL_ERROR,
    PROTOCOL_VERSION,
    notification,
    read_exchange,
    read_message,
    refusal,
    request,
)
from pytest_agentcap.sandbox.base import Command, Completed, Program

_POLL_S = 0.1
_CANCEL_S = 1.0


class _TimeUp(Exception):
    """Say that the turn's deadline has come."""


class _Failed(Exception):
    """Say what the adapter answered instead of a result; `code` is the error's, or the process's."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class RpcDriver:
    """Hold the adapter's process and session; both begin with the first turn."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._program: Program | None = None
        self._session: str | None = None
        self._prompt = ""
        self._last_id = 0
        self._arrivals: list[float] = []

    def prepare(self, prompt: str, number: int, session_id: str | None) -> tuple[Command, str | None]:
        self._prompt = prompt
        return self._scene.command(prompt, number, session_id)

    def run(self, command: Command, tick: Callable[[], None]) -> Completed:
        self._arrivals = []
        turn = _Turn(command, tick, self._arrivals)
        try:
            code = self._converse(turn)
        except _TimeUp:
            self._give_up(turn)
            return Completed(None, True, turn.elapsed_s)
        except _Failed as failed:
            turn.complain(str(failed))
            code = failed.code
        except BaseException:
            self._scene.box.end_agent()
            raise
        return Completed(code, False, turn.elapsed_s)

    def answer(self, out: str, err: str, session_id: str | None) -> Answer:
        reply, steps = read_exchange(out, self._arrivals)
        return Answer(reply, self._session, steps)

    def hindrance(self, session_id: str | None) -> str | None:
        return None if self._session is not None else "no-session-id"

    def _converse(self, turn: _Turn) -> int:
        if self._program is None:
            self._program = self._scene.box.converse(turn.command)
        self._program.errors = turn.command.stderr
        if self._session is None:
            self._call(turn, "initialize", {"protocolVersion": PROTOCOL_VERSION})
            opened = self._call(turn, "session/new", {"cwd": self._scene.box.workspace})
            if not isinstance(opened, dict) or not isinstance(opened.get("sessionId"), str):
                raise _Failed(INTERNAL_ERROR, "session/new answered without a sessionId")
            self._session = opened["sessionId"]
        prompt = [{"type": "text", "text": self._prompt}]
        self._call(turn, "session/prompt", {"sessionId": self._session, "prompt": prompt})
        return 0

    def _call(self, turn: _Turn, method: str, params: dict[str, Any]) -> Any:
        """Make a request and return its result.

        Raises _Failed when it is an error or the adapter ends, _TimeUp at the turn's deadline.
        """
        assert self._program is not None
        self._last_id += 1
        self._program.send(request(self._last_id, method, params))
        while True:
            turn.go_on()
            line = self._program.receive(_POLL_S)
            if line is None:
                continue
            if not line:
                code = self._program.exit_code()
                raise _Failed(code or INTERNAL_ERROR, f"the adapter ended with {code} before it answered {method}")
            message = turn.keep(line)
            if message is None:
                continue
            if "method" in message:
                if "id" in message:
                    self._program.send(refusal(message["id"], message["method"]))
            elif message.get("id") in (self._last_id, None):
                if "error" in message:
                    raise _error_of(method, message["error"])
                return message.get("result")

    def _give_up(self, turn: _Turn) -> None:
        """Ask the adapter to stop, keep what it still says, and end it as a tree: a turn is not broken off twice."""
        if self._program is not None and self._session is not None:
            self._program.send(notification("session/cancel", {"sessionId": self._session}))
            until = time.monotonic() + _CANCEL_S
            while time.monotonic() < until:
                line = self._program.receive(_POLL_S)
                if line == b"":
                    break
                if line and (message := turn.keep(line)) and message.get("id") == self._last_id:
                    break
        self._scene.box.end_agent()


class _Turn:
    """Follow one turn: its deadline, its output files, and when each message came."""

    def __init__(self, command: Command, tick: Callable[[], None], arrivals: list[float]) -> None:
        self.command = command
        self._tick, self._arrivals = tick, arrivals
        self._started = time.monotonic()
        for path in (command.stdout, command.stderr):
            path.touch()

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._started

    def go_on(self) -> None:
        self._tick()
        if self.elapsed_s >= self.command.timeout_s:
            raise _TimeUp

    def keep(self, line: bytes) -> dict[str, Any] | None:
        """Add a line to the turn's output, and return the message that it is."""
        _append(self.command.stdout, line)
        message = read_message(line)
        if message is not None:
            self._arrivals.append(round(self.elapsed_s * 1000, 3))
        return message

    def complain(self, text: str) -> None:
        _append(self.command.stderr, f"{text}\n".encode())


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def _error_of(method: str, error: Any) -> _Failed:
    known = error if isinstance(error, dict) else {}
    code = known.get("code")
    return _Failed(
        code if isinstance(code, int) and code else INTERNAL_ERROR, f"{method}: {known.get('message', error)}"
    )
