"""A program on this machine that is spoken to while it runs, in lines."""

from __future__ import annotations

import contextlib
import queue
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

_LONGEST_LINE = 64 << 20
_CHUNK = 64 << 10
_JOIN_S = 5.0


class HostProgram:
    """Send lines to a process and receive its lines; threads do the reading and writing, so neither side waits.

    The process must be ended by its owner before `close`.
    """

    def __init__(self, process: subprocess.Popen[bytes], errors: Path) -> None:
        self.errors = errors
        self._process = process
        self._inbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._writing = self._begin(self._write, process.stdin)
        self._reading = self._begin(self._read, process.stdout)
        self._reading_errors = self._begin(self._read_errors, process.stderr)

    def send(self, data: bytes) -> None:
        self._outbox.put(data)

    def receive(self, seconds: float) -> bytes | None:
        try:
            line = self._inbox.get(timeout=seconds)
        except queue.Empty:
            return None
        if not line:
            self._inbox.put(line)
        return line

    def exit_code(self) -> int:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_JOIN_S)
        if self._process.poll() is None:
            # It has closed its standard output and goes on: nothing more can come of it.
            self._process.kill()
        self._reading_errors.join(_JOIN_S)
        return self._process.wait()

    def close(self) -> None:
        self._outbox.put(None)
        for thread in (self._writing, self._reading, self._reading_errors):
            thread.join(_JOIN_S)

    def _begin(self, work: Callable[[IO[bytes]], None], stream: IO[bytes] | None) -> threading.Thread:
        thread = threading.Thread(target=work, args=(stream,), name=f"program-{self._process.pid}", daemon=True)
        thread.start()
        return thread

    def _write(self, stream: IO[bytes]) -> None:
        # A program that has ended, or has closed its input, is noticed where its answer is missing.
        with contextlib.suppress(BrokenPipeError), stream:
            while (data := self._outbox.get()) is not None:
                stream.write(data)
                stream.flush()

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            while line := stream.readline(_LONGEST_LINE):
                self._inbox.put(line)
        self._inbox.put(b"")

    def _read_errors(self, stream: IO[bytes]) -> None:
        with stream:
            while data := stream.read1(_CHUNK):  # type: ignore[attr-defined]
                with self.errors.open("ab") as file:
                    file.write(data)
