"""Run a program that may hang, crash or flood, and leave nothing of it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

MAX_OUTPUT_BYTES = 1 << 20

_TERM_GRACE_S = 2.0
_POLL_S = 0.25


@dataclass(frozen=True, slots=True)
class Finished:
    """Hold how a program ended: `returncode` is negative for a signal, and None when it was stopped for `stopped`."""

    returncode: int | None
    stdout: bytes
    stderr: bytes
    stopped: str | None = None


def run_program(argv: Sequence[str], *, stdin: bytes, cwd: Path, env: Mapping[str, str], timeout_s: float) -> Finished:
    """Run a program in a process group of its own until it ends, or stop it after `timeout_s` or too much output.

    Whatever is left of its process group is killed before this returns. Raises OSError when it cannot be started.
    """
    # Files and no pipes: nothing blocks on a program that never reads, nor on a child of it that keeps stdout open.
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin)
        given.seek(0)
        process = subprocess.Popen(
            argv, stdin=given, stdout=out, stderr=err, cwd=cwd, env=dict(env), start_new_session=True
        )
        try:
            stopped = _watch(process, (out, err), timeout_s)
        finally:
            _end_group(process)
        return Finished(
            returncode=None if stopped else process.returncode,
            stdout=_content(out),
            stderr=_content(err),
            stopped=stopped,
        )


def _watch(process: subprocess.Popen[bytes], outputs: tuple[IO[bytes], ...], timeout_s: float) -> str | None:
    deadline = time.monotonic() + timeout_s
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, min(_POLL_S, deadline - time.monotonic())))
        if any(os.fstat(output.fileno()).st_size > MAX_OUTPUT_BYTES for output in outputs):
            return f"wrote more than {MAX_OUTPUT_BYTES} bytes"
        if process.returncode is not None:
            return None
        if time.monotonic() >= deadline:
            return f"did not finish within {timeout_s:g} s"


def _end_group(process: subprocess.Popen[bytes]) -> None:
    try:
        if process.poll() is None:
            _signal_group(process, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_TERM_GRACE_S)
    finally:
        _signal_group(process, signal.SIGKILL)
        process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # macOS answers EPERM for a group of which only zombies are left.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _content(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read(MAX_OUTPUT_BYTES)
