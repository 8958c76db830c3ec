from __future__ import annotations

import io
import os
import socket
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_agentcap.sandbox.base import SandboxError
from pytest_agentcap.sandbox.copyout import CopyLimits, copy_tar, copy_tree, is_cut

LIMITS = CopyLimits()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "into"
    folder.mkdir()
    return folder


def entry(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tuple:
    member = tarfile.TarInfo(name)
    member.type = kind
    member.size = len(data)
    member.linkname = link
    member.mode = mode
    return member, data


def tar(*members: tuple) -> Iterator[bytes]:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for member, data in members:
            archive.addfile(member, io.BytesIO(data))
    packed = buffer.getvalue()
    return (packed[start : start + 700] for start in range(0, len(packed), 700))


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_files_folders_and_the_executable_bit_are_copied(source: Path, into: Path) -> None:
    (source / "empty").mkdir()
    (source / "a" / "b").mkdir(parents=True)
    (source / "a" / "b" / "data").write_bytes(bytes(range(256)) * 5000)
    (source / "script").write_text("#!/bin/sh\n")
    (source / "script").chmod(0o4755)
    assert copy_tree(source, into, LIMITS) == []
    assert names(into) == ["a", "a/b", "a/b/data", "empty", "script"]
    assert (into / "a" / "b" / "data").read_bytes() == bytes(range(256)) * 5000
    assert (into / "script").stat().st_mode & 0o7700 == 0o700
    assert not (into / "a" / "b" / "data").stat().st_mode & 0o111


def test_links_become_small_files_that_lead_nowhere(source: Path, into: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    (source / "absolute").symlink_to(secret)
    (source / "folder").symlink_to("..")
    (source / "dangling").symlink_to("nowhere")
    assert copy_tree(source, into, LIMITS) == []
    assert not any(path.is_symlink() for path in into.rglob("*"))
    assert (into / "absolute").read_text() == str(secret)
    assert (into / "folder").read_text() == ".."
    assert (into / "dangling").read_text() == "nowhere"


def test_a_folder_that_is_swapped_for_a_link_is_not_followed(
    source: Path, into: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("of the host")
    (source / "folder").mkdir()
    looked_at = os.lstat

    def swap(name: str, *, dir_fd: int) -> os.stat_result:
        status = looked_at(name, dir_fd=dir_fd)
        (source / "folder").rmdir()
        (source / "folder").symlink_to(outside)
        return status

    monkeypatch.setattr(os, "lstat", swap)
    [line] = copy_tree(source, into, LIMITS)
    monkeypatch.undo()
    assert line.startswith("'folder' cannot be read")
    assert names(into) == []


def test_a_link_on_the_way_to_the_source_is_not_followed_below_the_trusted_folder(
    source: Path, into: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside" / "traces"
    outside.mkdir(parents=True)
    (outside / "secret").write_text("of the host")
    (source / "home").symlink_to(tmp_path / "outside")
    [line] = copy_tree(source / "home" / "traces", into, LIMITS, trusted=source)
    assert line.startswith("'traces' cannot be opened as a folder")
    assert names(into) == []


def test_a_missing_source_is_reported(source: Path, into: Path) -> None:
    [line] = copy_tree(source / "absent", into, LIMITS)
    assert line.startswith("'absent' cannot be opened as a folder (No such file")


def test_fifos_and_sockets_are_left_out_and_reported(source: Path, into: Path, tmp_path: Path) -> None:
    os.mkfifo(source / "fifo")
    (source / "file").write_text("x")
    with socket.socket(socket.AF_UNIX) as listener, open_folder(source) as descriptor:
        listener.bind(f"/proc/self/fd/{descriptor}/socket")
        left_out = copy_tree(source, into, LIMITS)
    assert left_out == ["'fifo' is no regular file but a FIFO", "'socket' is no regular file but a socket"]
    assert names(into) == ["file"]


class open_folder:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> int:
        self.descriptor = os.open(self.path, os.O_RDONLY)
        return self.descriptor

    def __exit__(self, *exc: object) -> None:
        os.close(self.descriptor)


def test_names_with_control_characters_are_escaped_in_the_report(source: Path, into: Path) -> None:
    os.mkfifo(source / "\x1b[31mred\n")
    [line] = copy_tree(source, into, LIMITS)
    assert "\x1b" not in line
    assert "\n" not in line


def test_an_unreadable_name_encoding_is_copied_as_it_is(source: Path, into: Path) -> None:
    (source / os.fsdecode(b"\xff")).write_bytes(b"x")
    assert copy_tree(source, into, LIMITS) == []
    assert [os.fsencode(path.name) for path in into.iterdir()] == [b"\xff"]


def test_the_copy_ends_at_the_limit_of_entries(source: Path, into: Path) -> None:
    for number in range(5):
        (source / f"f{number}").touch()
    left_out = copy_tree(source, into, CopyLimits(entries=3))
    assert names(into) == ["f0", "f1", "f2"]
    assert left_out == ["more than 3 entries: the rest is left out"]


def test_what_is_nested_too_deep_is_left_out(source: Path, into: Path) -> None:
    (source / "a" / "b" / "c").mkdir(parents=True)
    assert copy_tree(source, into, CopyLimits(depth=2)) == ["'a/b/c' is nested deeper than 2 folders"]
    assert names(into) == ["a", "a/b"]


def test_a_file_beyond_the_limit_of_bytes_is_left_out_and_smaller_ones_still_come(source: Path, into: Path) -> None:
    (source / "a").write_bytes(b"x" * 60)
    with (source / "b").open("wb") as sparse:
        sparse.truncate(1 << 40)
    (source / "c").write_bytes(b"x" * 40)
    [line] = copy_tree(source, into, CopyLimits(total_bytes=100))
    assert "'b' is left out" in line
    assert names(into) == ["a", "c"]


@pytest.mark.parametrize("kind", ["file", "link", "full"])
def test_the_destination_must_be_an_empty_folder(source: Path, into: Path, tmp_path: Path, kind: str) -> None:
    target = tmp_path / kind
    if kind == "file":
        target.touch()
    elif kind == "link":
        target.symlink_to(into)
    else:
        target.mkdir()
        (target / "x").touch()
    with pytest.raises(SandboxError, match="is not an empty folder"):
        copy_tree(source, target, LIMITS)
    with pytest.raises(SandboxError, match="is not an empty folder"):
        copy_tar(tar(entry("root", kind=tarfile.DIRTYPE)), target, LIMITS)


def test_an_archive_loses_its_root_folder_and_special_mode_bits(into: Path) -> None:
    left_out = copy_tar(
        tar(
            entry("work", kind=tarfile.DIRTYPE),
            entry("work/d", kind=tarfile.DIRTYPE, mode=0o1777),
            entry("work/d/run", b"#!/bin/sh\n", mode=0o6755),
            entry("work/no/folder/entry", b"x"),
        ),
        into,
        LIMITS,
    )
    assert left_out == []
    assert names(into) == ["d", "d/run", "no", "no/folder", "no/folder/entry"]
    assert (into / "d" / "run").stat().st_mode & 0o7700 == 0o700
    assert (into / "d").stat().st_mode & 0o7000 == 0


@pytest.mark.parametrize("name", ["/etc/x", "work/../../x", "..", "work/a/../../../x"])
def test_archive_names_that_lead_out_are_left_out(into: Path, tmp_path: Path, name: str) -> None:
    [line] = copy_tar(tar(entry(name, b"x"), entry("work/good", b"y")), into, LIMITS)
    assert "leads out of its archive" in line
    assert names(into) == ["good"]
    assert names(tmp_path) == ["into", "into/good"]


def test_archive_links_become_text_and_are_not_written_through(into: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    left_out = copy_tar(
        tar(
            entry("work/link", kind=tarfile.SYMTYPE, link=str(outside)),
            entry("work/link/planted", b"x"),
            entry("work/link", b"again"),
        ),
        into,
        LIMITS,
    )
    assert (into / "link").read_text() == str(outside)
    assert names(outside) == []
    assert left_out == ["'link' cannot be written (File exists)", "'link' comes twice"]


def test_hard_links_are_copies_of_what_was_copied_and_of_nothing_else(into: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the host")
    left_out = copy_tar(
        tar(
            entry("work/a", b"content", mode=0o755),
            entry("work/b", kind=tarfile.LNKTYPE, link="work/a"),
            entry("work/up", kind=tarfile.LNKTYPE, link="work/../../secret"),
            entry("work/absolute", kind=tarfile.LNKTYPE, link=str(tmp_path / "secret")),
            entry("work/unknown", kind=tarfile.LNKTYPE, link="work/later"),
        ),
        into,
        LIMITS,
    )
    assert names(into) == ["a", "b"]
    assert (into / "b").read_text() == "content"
    assert (into / "b").stat().st_mode & 0o100
    assert (into / "a").stat().st_ino != (into / "b").stat().st_ino
    assert [line.partition(" ")[0] for line in left_out] == ["'up'", "'absolute'", "'unknown'"]


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_archive_devices_and_fifos_are_left_out(into: Path, kind: bytes) -> None:
    assert copy_tar(tar(entry("work/x", kind=kind)), into, LIMITS) == ["'x' is no regular file but a device or a FIFO"]
    assert names(into) == []


@pytest.mark.parametrize("rest", ["", "/deep/er"])
def test_a_root_with_a_name_is_copied_under_it_be_it_a_file_or_a_folder(into: Path, rest: str) -> None:
    assert copy_tar(tar(entry(f"work{rest}", b"x")), into, LIMITS, root="named") == []
    assert (into / f"named{rest}").read_bytes() == b"x"


def test_hard_links_are_found_below_a_root_with_a_name(into: Path) -> None:
    members = (entry("work/a", b"x"), entry("work/b", kind=tarfile.LNKTYPE, link="work/a"))
    assert copy_tar(tar(*members), into, LIMITS, root="named") == []
    assert names(into) == ["named", "named/a", "named/b"]


def test_an_archive_that_is_one_file_is_reported(into: Path) -> None:
    assert copy_tar(tar(entry("work", b"x")), into, LIMITS) == ["'work' is not a folder"]


def test_archive_limits(into: Path) -> None:
    members = [entry(f"work/f{number}", b"x" * 10) for number in range(5)]
    assert copy_tar(tar(*members), into, CopyLimits(entries=2)) == ["more than 2 entries: the rest is left out"]
    assert names(into) == ["f0", "f1"]


def test_an_archive_is_not_read_beyond_its_limit(into: Path) -> None:
    [line] = copy_tar(tar(entry("work/a", b"x"), entry("work/b", b"y" * 5000)), into, CopyLimits(stream_bytes=4096))
    assert line.startswith("'work/b' and all after it")
    assert names(into) == ["a"]


@pytest.mark.parametrize("stream", [[], [b"no archive" * 100]])
def test_what_is_no_archive_is_an_error(into: Path, stream: list[bytes]) -> None:
    with pytest.raises(SandboxError, match="cannot be read"):
        copy_tar(stream, into, LIMITS)


def test_an_archive_that_ends_early_is_an_error(into: Path) -> None:
    whole = b"".join(tar(entry("work/a", b"x" * 5000)))
    with pytest.raises(SandboxError, match="cannot be read"):
        copy_tar([whole[:2000]], into, LIMITS)


def test_a_long_history_leaves_the_files_their_room(tmp_path: Path) -> None:
    source, into = tmp_path / "source", tmp_path / "into"
    (source / ".git").mkdir(parents=True)
    into.mkdir()
    (source / ".git" / "pack").write_bytes(bytes(90))
    (source / ".git" / "pack2").write_bytes(bytes(90))
    (source / "file").write_bytes(bytes(90))
    [line] = copy_tree(source, into, CopyLimits(total_bytes=100))
    assert line.startswith("'.git/pack2' is left out: ")
    assert not is_cut(line)
    assert (into / "file").stat().st_size == 90
