"""Why pytest's rootdir may be elsewhere: it is chosen before any plugin has said which options it has.

Until then a word behind an option of ours looks like the path of a test, so `--grader /elsewhere/check.py` moves the
rootdir to what both places have in common, where no ini-file is near. `--grader=/elsewhere/check.py` does not.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from pytest_agentcap.options import OPTIONS


def rootdir_lines(config: pytest.Config) -> list[str]:
    """Name the option that has moved the rootdir, and say how it is written instead; empty when none has."""
    here = config.invocation_params.dir
    tests = [here / argument.partition("::")[0] for argument in config.args]
    if config.inipath is not None or config.getoption("rootdir") or config.rootpath == _common(here, *tests):
        return []
    moving = [(word, value) for word, value in _separate_words(config) if _common(here, *tests, here / value) != here]
    return [
        f"agentcap: rootdir is {config.rootpath} because of {word} {value}: write {word}={value}, or pass --rootdir"
        for word, value in moving
    ]


def _separate_words(config: pytest.Config) -> Iterator[tuple[str, str]]:
    """Yield our options whose value is a word of its own and the path of something."""
    names = {f"--{prefix}{option.name}" for option in OPTIONS if not option.flag for prefix in ("", "agentcap-")}
    words = list(config.invocation_params.args)
    for word, value in pairwise(words):
        # Not Path.exists, which raises when a word is too long for a name.
        if word in names and os.path.exists(config.invocation_params.dir / value):  # noqa: PTH110
            yield word, value


def _common(*paths: Path) -> Path:
    folders = [path if path.is_dir() else path.parent for path in map(Path.absolute, paths)]
    return Path(os.path.commonpath(folders))
