from __future__ import annotations

from pathlib import Path

import pytest

from pytest_agentcap.sandbox.base import SandboxError
from pytest_agentcap.sandbox.images import BASE, base_folder, content_hash, image_name, stands_on_base


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


def test_an_image_that_stands_on_the_shared_layer_changes_with_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data" / "base").mkdir(parents=True)
    (tmp_path / "data" / "base" / "Containerfile").write_text("FROM debian\n")
    monkeypatch.setattr("pytest_agentcap.sandbox.images.packaged", lambda name: tmp_path / "data")
    alone = content_hash(folder, {})
    (folder / "Containerfile").write_text(f"ARG X\nFROM {image_name(BASE)} AS x\n")
    on_base = content_hash(folder, {})
    assert stands_on_base(folder)
    (tmp_path / "data" / "base" / "Containerfile").write_text("FROM debian\nRUN true\n")
    assert content_hash(folder, {}) != on_base
    (folder / "Containerfile").write_text("FROM base\n")
    assert not stands_on_base(folder)
    assert content_hash(folder, {}) == alone


def test_every_shipped_agent_stands_on_the_shared_layer_unless_it_needs_a_newer_python() -> None:
    folders = [path.parent for path in base_folder().parent.glob("*/Containerfile") if path.parent != base_folder()]
    assert any(map(stands_on_base, folders))
    others = [(folder / "Containerfile").read_text() for folder in folders if not stands_on_base(folder)]
    assert all("\nFROM docker.io/library/python:" in text for text in others)
