"""fzf: which one is used, and one screen of it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

# The first with `load`, `pos` and a preview that moves below the list on narrow terminals.
_OLDEST = (0, 36)
_VERSION = re.compile(r"(\d+)\.(\d+)")
_NO_MATCH, _LEFT = 1, 130
# What a user's own defaults do to other lists would break ours: --multi, --tac, --select-1, other keys.
_OWN_SETTINGS = ("FZF_DEFAULT_OPTS", "FZF_DEFAULT_OPTS_FILE", "FZF_DEFAULT_COMMAND")
INSTALL = "no usable fzf: install it with `pip install iterfzf`, or by your package manager (0.36 or newer)"


class FzfError(ValueError):
    """Say why fzf cannot be used, and what to do."""


@dataclass(frozen=True, slots=True)
class Screen:
    """Hold what one screen shows: `position` counts from 1; `preview` is a command, with fzf's placeholders."""

    prompt: str
    header: str
    preview: str
    query: str = ""
    position: int = 1


@dataclass(frozen=True, slots=True)
class Choice:
    """Tell how a screen was left: with a row's number, with None where nothing matched, and the query then."""

    row: int | None
    query: str


def find_fzf() -> str:
    """Return the fzf on PATH, else the one that the package iterfzf brings; raises FzfError when there is neither."""
    found = shutil.which("fzf")
    if found and _version(found) >= _OLDEST:
        return found
    with contextlib.suppress(ImportError):
        from iterfzf import BUNDLED_EXECUTABLE

        if BUNDLED_EXECUTABLE and Path(BUNDLED_EXECUTABLE).is_file():
            return str(BUNDLED_EXECUTABLE)
    raise FzfError(INSTALL)


def _version(program: str) -> tuple[int, int]:
    try:
        told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return (0, 0)
    found = _VERSION.match(told)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def pick(program: str, screen: Screen, lines: Iterable[str], terminal: IO[bytes]) -> Choice | None:
    """Show lines until one is picked; None when the screen is left with Esc or Ctrl-C.

    `lines` are shown as they come, from a thread that is done when this returns. Each must be one printable line.
    Raises FzfError when fzf fails.
    """
    command = [program, *_arguments(screen)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=terminal, env=_environment()
    ) as process:
        assert process.stdin
        assert process.stdout
        feeder = _Feeder(process.stdin, lines)
        try:
            told = process.stdout.read().decode("utf-8", "replace")
        except BaseException:
            process.terminate()
            raise
        finally:
            feeder.stop()
    if feeder.error:
        raise feeder.error
    if process.returncode == _LEFT:
        return None
    if process.returncode not in (0, _NO_MATCH):
        raise FzfError(f"fzf ended with status {process.returncode}: {program}")
    query, _, line = told.partition("\n")
    number = line.partition("\t")[0]
    return Choice(int(number) if number else None, query)


def count_matches(program: str, query: str, lines: Sequence[str]) -> int:
    """Count the lines that a query matches."""
    text = "".join(_numbered(number, line) for number, line in enumerate(lines))
    command = [program, *_SEARCH, f"--filter={query}"]
    done = subprocess.run(
        command, input=text.encode(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment(), check=False
    )
    return done.stdout.count(b"\n")


# Rows are told apart by a number before the first tab, which is neither shown nor searched.
_SEARCH = ("--ansi", "--no-sort", "--delimiter=\t", "--with-nth=2..")


def _numbered(number: int, line: str) -> str:
    return f"{number}\t{line}\n"


def _arguments(screen: Screen) -> Iterator[str]:
    yield from _SEARCH
    yield from ("--layout=reverse", "--header-first", "--print-query", "--info=inline")
    # The text that a row is found by stands behind its end: neither scrolled to nor hinted at.
    yield from ("--no-hscroll", "--ellipsis=")
    yield f"--prompt={screen.prompt}> "
    yield f"--header={screen.header}"
    yield f"--query={screen.query}"
    yield f"--preview={screen.preview}"
    yield "--preview-window=right,60%,wrap,<50(down,60%,wrap)"
    yield "--bind=change:refresh-preview,alt-up:preview-page-up,alt-down:preview-page-down,ctrl-/:toggle-preview"
    if screen.position > 1:
        yield f"--bind=load:pos({screen.position})"


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _OWN_SETTINGS}
    # Previews are run by $SHELL, which may be one that understands other words.
    return {**kept, "SHELL": "/bin/sh"}


class _Feeder:
    """Write lines into fzf from a thread, until they end, or somebody has picked one."""

    def __init__(self, stdin: IO[bytes], lines: Iterable[str]) -> None:
        self.error: Exception | None = None
        self._stdin = stdin
        self._lines = lines
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="agentcap-rows")
        self._thread.start()

    def stop(self) -> None:
        """Let the thread end with the line it is at."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        # fzf reads no further once a row is picked.
        with contextlib.suppress(BrokenPipeError):
            try:
                for number, line in enumerate(self._lines):
                    if self._stopped.is_set():
                        return
                    self._stdin.write(_numbered(number, line).encode("utf-8", "replace"))
                    self._stdin.flush()
            except (ValueError, OSError) as error:
                if not isinstance(error, BrokenPipeError):
                    self.error = error
            finally:
                self._stdin.close()
