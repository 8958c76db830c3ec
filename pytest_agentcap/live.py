"""What running sessions are doing: told by the workers in small files, shown by the controller on a terminal."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from pytest_agentcap.runs.layout import write_whole

if TYPE_CHECKING:
    from pytest_agentcap.session import AgentSession

_FOLDER = "live"
_EVERY_S = 1.0


class LiveStatus:
    """Tell the controller what this worker's session is doing; nothing is written while nothing changes."""

    def __init__(self, state: Path) -> None:
        folder = state / _FOLDER
        folder.mkdir(exist_ok=True)
        self._path = folder / f"{os.getpid()}.json"
        self._last: dict[str, Any] = {}

    def show(self, session: AgentSession) -> None:
        calls = session.calls
        last = calls[-1].started_at_ns / 1e9 if calls else None
        now = {"task": session.plan.task.id, "turn": len(session.turns) + 1, "calls": len(calls), "last_call": last}
        if now != self._last:
            write_whole(self._path, json.dumps(now).encode())
            self._last = now

    def clear(self) -> None:
        self._path.unlink(missing_ok=True)


class LiveLine:
    """Keep one line below pytest's own output that says what runs; erased before pytest writes on.

    Works on terminals that know VT100's index, save and restore cursor; started only when output goes to one.
    """

    def __init__(self, state: Path, out: TextIO) -> None:
        self._folder, self._out = state / _FOLDER, out
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._drawn = False
        self._thread = threading.Thread(target=self._run, name="agentcap-live", daemon=True)
        self._thread.start()

    def erase(self) -> None:
        with self._lock:
            if self._drawn:
                self._write("\x1b7\x1b[1B\r\x1b[2K\x1b8")
                self._drawn = False

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        self.erase()
        self._out.close()

    def _run(self) -> None:
        while not self._stopping.wait(_EVERY_S):
            text = status_text(self._folder, time.time(), os.get_terminal_size(self._out.fileno()).columns - 1)
            with self._lock:
                if text:
                    # Make sure that there is a line below (index scrolls if need be), then draw there and come back.
                    self._write(f"\x1bD\x1b[1A\x1b7\x1b[1B\r\x1b[2K{text}\x1b8")
                    self._drawn = True

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


def status_text(folder: Path, now: float, width: int) -> str:
    """Describe the running sessions in one line of at most `width` characters."""
    parts = []
    for path in sorted(folder.glob("*.json")):
        try:
            status = json.loads(path.read_bytes())
        except (FileNotFoundError, ValueError):
            # The worker has just finished that session.
            continue
        since = "" if status["last_call"] is None else f", last {max(0, now - status['last_call']):.0f} s ago"
        parts.append(f"{status['task'][:32]} turn {status['turn']}: {status['calls']} calls{since}")
    return " · ".join(parts)[:width]


def live_line(state: Path) -> LiveLine | None:
    """Start the live line if standard output is a terminal to draw it on."""
    if not os.isatty(1) or os.environ.get("TERM") in (None, "dumb"):
        return None
    # A descriptor of our own: while a test runs, pytest points the other one at its capture file.
    return LiveLine(state, os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace"))
