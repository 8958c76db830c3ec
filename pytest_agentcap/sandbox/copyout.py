"""The only way anything is copied out of a sandbox: what the agent planted is never followed and never trusted.

Regular files and folders are copied; of a file's mode only "executable" is kept. A symbolic link becomes a regular file
that holds its target's text (as git writes links where `core.symlinks` is false), so that nothing in a copy leads
anywhere. Devices, FIFOs and sockets are left out, and so is everything beyond the limits.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

from pytest_agentcap.sandbox.base import SandboxError

_CHUNK = 1 << 20
# What is wrong with the host, not with one entry: it ends the copy instead of leaving the entry out.
_HOST_TROUBLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE})
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A FIFO that was swapped in for a file after it was looked at must not block the open.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_KINDS = {stat.S_IFIFO: "FIFO", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}


@dataclass(frozen=True, slots=True)
class CopyLimits:
    """Bound one copy: `entries` seen, folder `depth`, `total_bytes` written, `stream_bytes` read of an archive.

    What is in `.git` folders may have `total_bytes` of its own: a long history leaves the files their room.
    """

    entries: int = 50_000
    depth: int = 64
    total_bytes: int = 256 << 20
    stream_bytes: int = 4 << 30


def is_cut(line: str) -> bool:
    """Tell whether a line about what was left out is about files: then the copy cannot tell which there are not.

    The history of a repository is not missed.
    """
    history = re.fullmatch(r"'\.git/[\w./-]+' is left out: [\w ]+", line)
    return not (history or re.search(r"is no regular file but a [A-Za-z ]+$", line))


class _Reader(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _LimitReached(Exception):
    """The copy ends here; what is left out is already noted."""


def copy_tree(source: Path, into: Path, limits: CopyLimits, trusted: Path | None = None) -> list[str]:
    """Copy a host folder's content into the empty folder `into`; return one line for each thing left out.

    Folders below `trusted` (default: all but the last name of `source`) on the way to `source` are opened without
    following links. Raises SandboxError when `into` is not an empty folder.
    """
    copy = _Copy(_empty_folder(into), limits)
    try:
        descriptor = _open_folder(source, source.parent if trusted is None else trusted)
    except OSError as error:
        copy.leave_out((source.name,), f"cannot be opened as a folder ({error.strerror})")
        return copy.left_out
    try:
        _copy_folder(descriptor, (), copy)
    except _LimitReached:
        pass
    finally:
        os.close(descriptor)
    return copy.left_out


def copy_tar(stream: Iterable[bytes], into: Path, limits: CopyLimits, root: str | None = None) -> list[str]:
    """Copy the content of a tar stream's one root folder into the empty folder `into`, and return what was left out.

    With a name for the root, the root itself is copied, under that name, and may be a file.
    Absolute names and names with `..` are left out; a hard link is a copy of what it names when that was copied.
    Raises SandboxError when `into` is not an empty folder or the stream is no tar archive or ends early.
    """
    copy = _Copy(_empty_folder(into), limits, (root,) if root else ())
    try:
        with tarfile.open(fileobj=_Chunks(iter(stream)), mode="r|") as archive:  # type: ignore[call-overload]
            for member in archive:
                _copy_member(archive, member, copy)
    except _LimitReached:
        pass
    except (tarfile.TarError, EOFError) as error:
        raise SandboxError(f"the archive that podman sent cannot be read: {error}") from error
    return copy.left_out


@dataclass(slots=True)
class _Copy:
    """Write into a folder that only this process writes to, within limits."""

    into: Path
    limits: CopyLimits
    root: tuple[str, ...] = ()
    left_out: list[str] = field(default_factory=list)
    entries: int = 0
    written: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})

    def leave_out(self, parts: Sequence[str], why: str) -> None:
        # A name is the agent's text: `repr` keeps control characters and terminal escapes out of reports.
        self.left_out.append(f"{'/'.join(parts)!r} {why}")

    def admit(self, parts: Sequence[str]) -> bool:
        """Count one entry; say whether it may be copied."""
        if self.entries >= self.limits.entries:
            self.left_out.append(f"more than {self.limits.entries} entries: the rest is left out")
            raise _LimitReached
        self.entries += 1
        if len(parts) > self.limits.depth:
            self.leave_out(parts, f"is nested deeper than {self.limits.depth} folders")
            return False
        return True

    def folder(self, parts: Sequence[str]) -> bool:
        try:
            self.into.joinpath(*parts).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if error.errno in _HOST_TROUBLE:
                raise
            self.leave_out(parts, f"cannot be written ({error.strerror})")
            return False
        return True

    def file(self, parts: Sequence[str], size: int, executable: bool, content: _Reader) -> None:
        history = ".git" in parts
        if size > self.limits.total_bytes - self.written[history]:
            self.leave_out(parts, f"is left out: with its {size} bytes the copy would exceed {self.limits.total_bytes}")
            return
        if len(parts) > 1 and not self.folder(parts[:-1]):
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(self.into.joinpath(*parts), flags, 0o755 if executable else 0o644)
        except FileExistsError:
            self.leave_out(parts, "comes twice")
            return
        except OSError as error:
            if error.errno in _HOST_TROUBLE:
                raise
            self.leave_out(parts, f"cannot be written ({error.strerror})")
            return
        with os.fdopen(descriptor, "wb") as target:
            # Only as much as was announced: a file that grows while it is read stays within the limits.
            while size > 0 and (chunk := content.read(min(size, _CHUNK))):
                target.write(chunk)
                size -= len(chunk)
                self.written[history] += len(chunk)

    def text(self, parts: Sequence[str], text: str) -> None:
        data = os.fsencode(text)
        self.file(parts, len(data), False, _Chunks(iter([data])))


@dataclass(slots=True)
class _Chunks:
    """Give an iterator of bytes a `read`."""

    chunks: Iterator[bytes]
    rest: bytes = b""

    def read(self, size: int, /) -> bytes:
        while not self.rest:
            chunk = next(self.chunks, None)
            if chunk is None:
                return b""
            self.rest = chunk
        data, self.rest = self.rest[:size], self.rest[size:]
        return data


def _empty_folder(path: Path) -> Path:
    if path.is_symlink() or not path.is_dir() or any(path.iterdir()):
        raise SandboxError(f"{path} is not an empty folder: nothing is copied out of a sandbox into it")
    return path


def _open_folder(path: Path, trusted: Path) -> int:
    descriptor = os.open(trusted, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for name in path.relative_to(trusted).parts:
        above = descriptor
        try:
            descriptor = os.open(name, _FOLDER, dir_fd=above)
        finally:
            os.close(above)
    return descriptor


def _copy_folder(descriptor: int, above: tuple[str, ...], copy: _Copy) -> None:
    for name in sorted(os.listdir(descriptor)):
        parts = (*above, name)
        if not copy.admit(parts):
            continue
        try:
            _copy_entry(descriptor, name, parts, copy)
        except OSError as error:
            if error.errno in _HOST_TROUBLE:
                raise
            copy.leave_out(parts, f"cannot be read ({error.strerror})")


def _copy_entry(folder: int, name: str, parts: tuple[str, ...], copy: _Copy) -> None:
    kind = os.lstat(name, dir_fd=folder).st_mode
    if stat.S_ISLNK(kind):
        copy.text(parts, os.readlink(name, dir_fd=folder))
    elif stat.S_ISDIR(kind):
        inner = os.open(name, _FOLDER, dir_fd=folder)
        try:
            if copy.folder(parts):
                _copy_folder(inner, parts, copy)
        finally:
            os.close(inner)
    elif stat.S_ISREG(kind):
        with os.fdopen(os.open(name, _FILE, dir_fd=folder), "rb") as content:
            status = os.fstat(content.fileno())
            if stat.S_ISREG(status.st_mode):
                copy.file(parts, status.st_size, bool(status.st_mode & stat.S_IXUSR), content)
            else:
                copy.leave_out(parts, "was exchanged while it was copied")
    else:
        copy.leave_out(parts, f"is no regular file but a {_KINDS.get(stat.S_IFMT(kind), 'special file')}")


def _copy_member(archive: tarfile.TarFile, member: tarfile.TarInfo, copy: _Copy) -> None:
    if member.offset_data + member.size > copy.limits.stream_bytes:
        copy.left_out.append(f"{member.name!r} and all after it: the archive is larger than {copy.limits.stream_bytes}")
        raise _LimitReached
    parts = _parts_of(member.name, copy.root)
    if parts is None:
        copy.admit(())
        copy.leave_out((member.name,), "has a name that leads out of its archive")
    elif not parts:
        if not member.isdir():
            copy.leave_out((member.name,), "is not a folder")
    elif not copy.admit(parts):
        pass
    elif member.isdir():
        copy.folder(parts)
    elif member.issym():
        copy.text(parts, member.linkname)
    elif member.islnk():
        _copy_hard_link(member, parts, copy)
    elif member.isreg() and (content := archive.extractfile(member)) is not None:
        copy.file(parts, member.size, bool(member.mode & stat.S_IXUSR), content)
    else:
        copy.leave_out(parts, "is no regular file but a device or a FIFO")


def _copy_hard_link(member: tarfile.TarInfo, parts: tuple[str, ...], copy: _Copy) -> None:
    named = _parts_of(member.linkname, copy.root)
    if not named:
        copy.leave_out(parts, "is a hard link that leads out of its archive")
        return
    try:
        # Safe to open by its path: the copy holds nothing but what was written here, and no links.
        with copy.into.joinpath(*named).open("rb") as content:
            status = os.fstat(content.fileno())
            copy.file(parts, status.st_size, bool(status.st_mode & stat.S_IXUSR), content)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        copy.leave_out(parts, "is a hard link to something that was not copied")


def _parts_of(name: str, root: tuple[str, ...]) -> tuple[str, ...] | None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        return None
    return (*root, *path.parts[1:])
