from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from pytest_agentcap.inspect.fzf import FzfError, count_matches, find_fzf


def put_fzf(folder: Path, version: str) -> str:
    folder.mkdir()
    program = folder / "fzf"
    program.write_text(f"#!/bin/sh\necho '{version}'\n")
    program.chmod(0o755)
    return str(program)


def bundled() -> str:
    from iterfzf import BUNDLED_EXECUTABLE

    return str(BUNDLED_EXECUTABLE)


def test_the_one_on_path_is_used(tmp_path, monkeypatch):
    program = put_fzf(tmp_path / "bin", "0.38.0 (debian)")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert find_fzf() == program


@pytest.mark.parametrize("version", ["0.29 (devel)", "", "broken"])
def test_one_that_is_too_old_or_broken_is_passed_over(tmp_path, monkeypatch, version):
    put_fzf(tmp_path / "bin", version)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert find_fzf() == bundled()


def test_without_one_on_path_the_bundled_one_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_fzf() == bundled()
    assert os.access(bundled(), os.X_OK)


def test_with_neither_the_command_to_install_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "iterfzf", None)
    with pytest.raises(FzfError, match=r"pip install iterfzf"):
        find_fzf()


@pytest.mark.parametrize("which", ["bundled", "path"])
def test_matches_are_counted_in_what_is_shown_and_what_is_hidden(which, need):
    if which == "path":
        need("fzf")
    program = bundled() if which == "bundled" else str(shutil.which("fzf"))
    lines = ["one  \x1b[7mred\x1b[0m", "two" + " " * 500 + "hidden", "three 0"]
    assert count_matches(program, "'red", lines) == 1
    assert count_matches(program, "'hidden", lines) == 1
    assert count_matches(program, "e$ | 0$", lines) == 1
    # The number before the line is not searched.
    assert count_matches(program, "^2", lines) == 0
