from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_agentcap.sandbox.built import built_images, image_state
from pytest_agentcap.sandbox.images import HASH_LABEL, content_hash


@pytest.fixture
def podman(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that answers as podman does, with what the file beside it says."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "podman"
    program.write_text(f"#!/bin/sh\ntest \"$1\" = images || exit 9\ncat '{folder}/images.json'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder / "images.json"


def test_images_are_read_by_name_with_their_labels(podman: Path) -> None:
    labels = {HASH_LABEL: "abc", "io.buildah.version": "1"}
    podman.write_text(json.dumps([{"Names": ["localhost/agentcap-a:latest"], "Labels": labels}, {"Labels": labels}]))
    assert built_images() == {"localhost/agentcap-a:latest": "abc"}


def test_a_podman_that_fails_or_is_not_there_tells_nothing(podman: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert built_images() is None
    monkeypatch.setenv("PATH", str(podman.parent / "nowhere"))
    assert built_images() is None


def test_an_image_is_out_of_date_when_its_folder_has_changed(tmp_path: Path) -> None:
    (tmp_path / "Containerfile").write_text("FROM scratch\n")
    built = {"localhost/agentcap-a:latest": content_hash(tmp_path, {})}
    assert image_state("a", tmp_path, built) == "built"
    assert image_state("b", tmp_path, built) == "absent"
    (tmp_path / "Containerfile").write_text("FROM scratch\nUSER agent\n")
    assert image_state("a", tmp_path, built) == "out of date"
    (tmp_path / "Containerfile").unlink()
    assert image_state("a", tmp_path, built) is None
