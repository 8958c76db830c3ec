from __future__ import annotations

from pathlib import Path

import pytest

from pytest_agentcap.sandbox.base import SandboxError
from pytest_agentcap.sandbox.images import content_hash


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "agent"
    folder.mkdir()
    (folder / "Containerfile").write_text("FROM base\n")
    (folder / "config.json").write_text("{}")
    return folder


def test_the_same_content_has_the_same_hash(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in sorted(folder.iterdir(), reverse=True):
        (copy / path.name).write_bytes(path.read_bytes())
    assert content_hash(copy, {}) == content_hash(folder, {})


def test_the_hash_changes_with_the_containerfile(folder: Path) -> None:
    before = content_hash(folder, {})
    (folder / "Containerfile").write_text("FROM base\nRUN true\n")
    assert content_hash(folder, {}) != before


@pytest.mark.parametrize("relative", ["config.json", "new", "inner/new"])
def test_the_hash_changes_with_the_context(folder: Path, relative: str) -> None:
    before = content_hash(folder, {})
    (folder / relative).parent.mkdir(exist_ok=True)
    (folder / relative).write_text("other")
    assert content_hash(folder, {}) != before


def test_the_hash_changes_with_extra_files_and_their_place(folder: Path, tmp_path: Path) -> None:
    extra = tmp_path / "extra.py"
    extra.write_text("print()")
    hashes = {content_hash(folder, files) for files in ({}, {"a.py": extra}, {"b.py": extra})}
    extra.write_text("print(1)")
    assert len(hashes | {content_hash(folder, {"a.py": extra})}) == 4


def test_a_folder_without_containerfile_is_named(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="has no Containerfile"):
        content_hash(tmp_path, {})
