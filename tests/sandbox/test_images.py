from __future__ import annotations

from pathlib import Path

import pytest

from pytest_agentcap.sandbox.base import SandboxError
from pytest_agentcap.sandbox.images import (
    BASE,
    base_folder,
    content_hash,
    image_name,
    image_part,
    stands_on_base,
    why_not_built,
)


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


@pytest.mark.parametrize(("agent", "part"), [("loop", "loop"), ("My Agent/2.0", "my-agent-2-0"), ("智", "agent")])
def test_any_name_of_an_agent_becomes_a_part_of_an_images(agent: str, part: str) -> None:
    assert image_part(agent) == part


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


@pytest.mark.parametrize(
    ("base", "advice"),
    [
        ("docker.io/library/debian:bookworm-slim", "make it with tools/offline-base-image"),
        ("docker.io/library/python:3.12-slim-bookworm", "use --sandbox host without one"),
    ],
)
def test_a_base_image_that_no_registry_gives_is_named_with_what_to_do(base: str, advice: str) -> None:
    trouble = 'Error: pinging container registry: Get "https://registry/v2/": dial tcp: no such host'
    step = f"STEP 1/9: FROM {base}"
    assert why_not_built("localhost/agentcap-a:latest", step, [step, trouble]) == (
        f"localhost/agentcap-a:latest cannot be built: no registry gives its base image {base}; {advice} ({trouble})"
    )


def test_what_a_later_step_cannot_fetch_is_no_base_image() -> None:
    step, trouble = "STEP 3/9: RUN apt-get update", "Temporary failure resolving 'deb.debian.org'"
    assert why_not_built("a", step, [step, trouble]) == f"a cannot be built: failed at {step}: {step} | {trouble}"
