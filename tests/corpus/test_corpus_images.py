from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from pytest_agentcap.corpus.images import MAX_IMAGE_BYTES
from pytest_agentcap.corpus.reader import CorpusError, read_corpus
from pytest_agentcap.corpus.task import Task

HEADS = {
    "png": b"\x89PNG\r\n\x1a\n1234",
    "jpeg": b"\xff\xd8\xff\xe0",
    "gif": b"GIF89a",
    "webp": b"RIFF1234WEBPVP8 ",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "corpus" / "pictures"
    place.mkdir(parents=True)
    for name, head in HEADS.items():
        (place / f"{name}.bin").write_bytes(head)
    (place / "notes.png").write_text("a text")
    (place / "large.png").write_bytes(HEADS["png"] + bytes(MAX_IMAGE_BYTES))
    (tmp_path / "other.png").write_bytes(HEADS["png"])
    (place / "link.png").symlink_to(tmp_path / "other.png")
    return place.parent


def read(folder: Path, images: Any) -> Task:
    path = folder / "prompts.jsonl"
    path.write_text(json.dumps({"input": "first"}) + "\n" + json.dumps({"input": "look", "images": images}) + "\n")
    return read_corpus(path, root=folder)[1]


def test_images_are_told_by_their_content_and_kept_with_their_hash(folder: Path) -> None:
    task = read(folder, [f"pictures/{name}.bin" for name in HEADS])
    assert [image.media_type for image in task.images] == [f"image/{name}" for name in HEADS]
    png = task.images[0]
    assert png.facts == {
        "path": "pictures/png.bin",
        "media_type": "image/png",
        "sha256": hashlib.sha256(HEADS["png"]).hexdigest(),
    }
    assert png.read() == HEADS["png"]


@pytest.mark.parametrize(("images", "count"), [(None, 0), ([], 0), ("pictures/png.bin", 1)])
def test_no_image_and_a_single_one_need_no_list(folder: Path, images: Any, count: int) -> None:
    assert len(read(folder, images).images) == count


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("pictures/none.png", "there is no image 'pictures/none.png'"),
        ("pictures", "there is no image 'pictures'"),
        ("a\0b", "there is no image 'a\\x00b'"),
        ("../other.png", "the image '../other.png' is outside of the corpus's folder"),
        ("pictures/link.png", "the image 'pictures/link.png' is outside of the corpus's folder"),
        ("pictures/notes.png", "'pictures/notes.png' is no image; use a PNG, JPEG, GIF or WebP file"),
        ("pictures/large.png", f"has {MAX_IMAGE_BYTES + 12} bytes, more than {MAX_IMAGE_BYTES} (5 MiB)"),
    ],
)
def test_what_cannot_be_sent_is_named_by_file_and_line(folder: Path, name: str, said: str) -> None:
    with pytest.raises(CorpusError) as caught:
        read(folder, ["pictures/png.bin", name])
    assert str(caught.value).startswith("prompts.jsonl:2: ")
    assert said in str(caught.value)


def test_an_absolute_path_is_outside(folder: Path) -> None:
    with pytest.raises(CorpusError, match=r"is outside of the corpus's folder; copy it there"):
        read(folder, [str(folder / "pictures" / "png.bin")])


def test_other_types_than_paths_are_refused(folder: Path) -> None:
    with pytest.raises(CorpusError, match=r"prompts\.jsonl:2: `images` is an object; write a string or a list"):
        read(folder, {"a": 1})


def test_an_image_that_changed_since_is_not_sent(folder: Path) -> None:
    (image,) = read(folder, "pictures/png.bin").images
    image.path.write_bytes(HEADS["gif"])
    with pytest.raises(ValueError, match=r"png\.bin has changed since the corpus was read"):
        image.read()
