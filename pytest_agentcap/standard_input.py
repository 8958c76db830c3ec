"""A corpus on standard input: `-` among pytest's arguments."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_agentcap.runs.layout import workspace_folder, write_whole

ARGUMENT = "-"
TAKEN: pytest.StashKey[str] = pytest.StashKey()
_KEY = "agentcap_stdin"
_FOLDER = "stdin"
_NAME = "stdin.corpus.jsonl"


def take_standard_input(config: pytest.Config) -> None:
    """Keep what standard input holds as a corpus, and put its file in the place of `-`.

    The folder is named after the content: the same corpus has the same node ids again, `--lf` finds them, and workers
    of pytest-xdist, which have no standard input, read the same file. Raises pytest.UsageError.
    """
    if ARGUMENT not in config.args:
        return
    data = _read(config)
    if not data.strip():
        raise pytest.UsageError("-: standard input is empty: pipe a JSONL corpus in")
    folder = workspace_folder().absolute() / _FOLDER / hashlib.blake2b(data, digest_size=4).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / _NAME, data)
    config.stash[TAKEN] = str(folder / _NAME)
    _put(config, _shown(folder / _NAME, config))


def hand_on(config: pytest.Config, workerinput: dict[str, Any]) -> None:
    """Tell a worker, which is given the same arguments, which file stands for `-`."""
    if TAKEN in config.stash:
        workerinput[_KEY] = config.stash[TAKEN]


def take_from_controller(config: pytest.Config) -> None:
    """Put the file in the place of `-` in a worker."""
    told = config.workerinput.get(_KEY)  # type: ignore[attr-defined]
    if told is not None:
        _put(config, told)


def _put(config: pytest.Config, path: str) -> None:
    config.args[:] = [path if each == ARGUMENT else each for each in config.args]


def _read(config: pytest.Config) -> bytes:
    if sys.__stdin__ is None or sys.__stdin__.isatty():
        raise pytest.UsageError("-: standard input is a terminal: pipe a JSONL corpus in")
    # pytest has put another file in the place of standard input. While it configures it captures no output, and will
    # take input back when it does again.
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        capture.suspend_global_capture(in_=True)
    return bytes(sys.__stdin__.buffer.read())


def _shown(path: Path, config: pytest.Config) -> str:
    here = config.invocation_params.dir
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
