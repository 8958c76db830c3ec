"""Previews of rows, made in this process: what fzf starts for each is a shell that asks for a row by its number.

Neither Python nor curl is started, and no captured text is on a command line. The shell asks through a named pipe and
reads the answer from one of its own, in a directory that no other user can enter.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

# fzf ends the shell as soon as the cursor moves on: an answer that nobody reads must not wait for ever.
_PATIENCE_S = 2.0
_RETRY_S = 0.002
_ASK = """\
cd "${0%/*}" && mkfifo "$$" && printf '%s %s %s\\n' "$$" "$1" "$2" > asked && cat "$$"
"""


class PreviewServer:
    """Answer fzf's preview commands while it is entered; `render` is given a row's number and the query."""

    def __init__(self, render: Callable[[int, str], str]) -> None:
        self._render = render
        self._folder = Path(tempfile.mkdtemp(prefix="agentcap-inspect-"))
        self._asked = self._folder / "asked"

    @property
    def command(self) -> str:
        """Return the preview command; fzf puts the row's number and the quoted query in."""
        return f"sh {shlex.quote(str(self._folder / 'ask'))} {{n}} {{q}}"

    def __enter__(self) -> Self:
        (self._folder / "ask").write_text(_ASK)
        os.mkfifo(self._asked, 0o600)
        # Open for both, it neither waits for a first writer nor ends with the last one.
        self._pipe = os.open(self._asked, os.O_RDWR)
        self._thread = threading.Thread(target=self._listen, name="agentcap-previews", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.write(self._pipe, b"\n")
        self._thread.join()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _listen(self) -> None:
        with os.fdopen(self._pipe, "rb", buffering=0, closefd=True) as pipe:
            waiting = b""
            while True:
                *lines, waiting = (waiting + pipe.read(4096)).split(b"\n")
                for line in lines:
                    if not line:
                        return
                    threading.Thread(target=self._answer, args=(line,), daemon=True).start()

    def _answer(self, line: bytes) -> None:
        reply, number, *query = line.decode("utf-8", "replace").split(" ", 2)
        # fzf asks without a number where no row is left.
        if reply.isdigit():
            text = self._render(int(number), query[0] if query else "") if number.isdigit() else ""
            _deliver(self._folder / reply, text.encode("utf-8", "replace"))


def _deliver(pipe: Path, data: bytes) -> None:
    """Write an answer to who asked, if they are still there."""
    deadline = time.monotonic() + _PATIENCE_S
    try:
        while True:
            try:
                handle = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
                break
            except OSError as error:
                if error.errno != errno.ENXIO or time.monotonic() > deadline:
                    return
                time.sleep(_RETRY_S)
        os.set_blocking(handle, True)
        with os.fdopen(handle, "wb", buffering=0) as file, contextlib.suppress(BrokenPipeError):
            file.write(data)
    finally:
        pipe.unlink(missing_ok=True)
