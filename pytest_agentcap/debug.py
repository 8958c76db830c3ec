"""--agentcap-debug: each turn's command line and the agent's output while it comes, without secrets."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TextIO

import pytest

from pytest_agentcap.runs.masking import Mask
from pytest_agentcap.sandbox.base import Command, Completed
from pytest_agentcap.text import printable

# Standard error as it was before pytest captured it; workers of xdist have inherited the controller's.
SCREEN: pytest.StashKey[TextIO] = pytest.StashKey()
_LINE_CHARS = 2000
_READ_BYTES = 1 << 20


def open_screen(config: pytest.Config) -> None:
    """Keep a way to the user's terminal, which tests are cut off from while they run."""
    screen = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="backslashreplace")
    config.stash[SCREEN] = screen
    config.add_cleanup(screen.close)


class Debug:
    """Write what turns do to a screen; `secrets` are masked whatever else is stored as it is."""

    def __init__(self, screen: TextIO, secrets: tuple[str, ...]) -> None:
        self._screen, self._secrets = screen, secrets

    def follow(self, session: str, number: int, command: Command, prompt: str, lease: str) -> DebugTurn:
        """Show a turn's command line, and its prompt unless that stands in it; its output follows."""
        mask = Mask.of(self._secrets, lease)
        turn = DebugTurn(self._screen, f"[{session} turn {number}]", mask, command)
        turn.say("$", shlex.join(command.argv))
        if command.stdin is not None:
            for line in prompt.splitlines():
                turn.say("in ", line)
        turn.flush()
        return turn


class DebugTurn:
    """Follow the two output files of one turn; lines are shown when they are whole."""

    def __init__(self, screen: TextIO, head: str, mask: Mask, command: Command) -> None:
        self._screen, self._head, self._mask = screen, head, mask
        self._sources = [_Lines("out", command.stdout), _Lines("err", command.stderr)]
        self._waiting: list[str] = []

    def say(self, kind: str, text: str) -> None:
        masked = self._mask.apply(text.encode("utf-8", "surrogatepass"))[0].decode("utf-8", "replace")
        cut = masked if len(masked) <= _LINE_CHARS else f"{masked[:_LINE_CHARS]} … {len(masked)} characters"
        self._waiting.append(f"{self._head} {kind} {printable(cut)}\n")

    def flush(self) -> None:
        # By one write, so that the lines of several workers stay whole.
        self._screen.write("".join(self._waiting))
        self._screen.flush()
        self._waiting.clear()

    def advance(self) -> None:
        """Show the lines that have come."""
        for source in self._sources:
            for line in source.read():
                self.say(source.kind, line)
        if self._waiting:
            self.flush()

    def end(self, completed: Completed) -> None:
        """Show the rest, and how the command ended."""
        self.advance()
        for source in self._sources:
            for line in source.rest():
                self.say(source.kind, line)
        ended = "was ended" if completed.exit_code is None else f"exit code {completed.exit_code}"
        self.say("=", f"{ended}{' at its deadline' if completed.timed_out else ''}, {completed.duration_s:.1f} s")
        self.flush()


class _Lines:
    def __init__(self, kind: str, path: Path) -> None:
        self.kind, self._path = kind, path
        self._position = 0
        self._begun = b""

    def read(self) -> list[str]:
        """Return the lines that have ended since the last call."""
        lines: list[str] = []
        while data := self._next():
            *whole, self._begun = (self._begun + data).split(b"\n")
            lines += [line.decode("utf-8", "replace").rstrip("\r") for line in whole]
        return lines

    def rest(self) -> list[str]:
        begun, self._begun = self._begun, b""
        return [begun.decode("utf-8", "replace")] if begun else []

    def _next(self) -> bytes:
        if not self._path.exists():
            return b""
        with self._path.open("rb") as file:
            file.seek(self._position)
            data = file.read(_READ_BYTES)
        self._position += len(data)
        return data
