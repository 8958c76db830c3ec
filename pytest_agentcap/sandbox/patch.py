"""What a session changed in its workspace, as a patch in git's format.

Both sides are copies on this machine, compared here; git sees single blobs of files that differ, in a repository of
ours. It never looks into a folder that the agent wrote to: a `.git` there can name programs to be run.
"""

from __future__ import annotations

import filecmp
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pytest_agentcap.sandbox.copyout import is_cut
from pytest_agentcap.sandbox.git import git, make_repository

_HEADER = b"committer agentcap <agentcap> 0 +0000\ndata 0\n"


@dataclass(frozen=True, slots=True)
class PatchLimits:
    """Bound a patch: bytes of one file, and of all of them, before and after counted together."""

    file_bytes: int = 8 << 20
    total_bytes: int = 32 << 20


@dataclass(frozen=True, slots=True)
class Baseline:
    """Remember what a workspace began as: a copy of a folder, with single files of ours on top."""

    folder: Path | None
    added: Mapping[str, bytes] = field(default_factory=dict)
    fingerprint: str = ""

    @classmethod
    def of(cls, folder: Path | None, added: Mapping[str, bytes]) -> Baseline:
        """Take note of a folder as it is now; it is not copied."""
        return cls(folder, dict(added), _fingerprint(folder))


@dataclass(frozen=True, slots=True)
class Patch:
    """Hold a patch, the names of all files that changed, and what has to be said of it, a line each."""

    data: bytes
    names: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def files(self) -> int:
        return len(self.names)


@dataclass(frozen=True, slots=True)
class _File:
    """One side of a file; a link is the text of its target, as in all copies out of a sandbox."""

    path: Path | None
    text: bytes | None
    executable: bool = False

    @property
    def size(self) -> int:
        return len(self.text) if self.text is not None else self._on_disk().stat().st_size

    def read(self) -> bytes:
        return self.text if self.text is not None else self._on_disk().read_bytes()

    def same_as(self, other: _File) -> bool:
        if self.executable != other.executable or self.size != other.size:
            return False
        if self.text is None and other.text is None:
            return filecmp.cmp(self._on_disk(), other._on_disk(), shallow=False)
        return self.read() == other.read()

    def _on_disk(self) -> Path:
        assert self.path is not None
        return self.path


@dataclass(frozen=True, slots=True)
class _Change:
    name: str
    before: _File | None
    after: _File | None

    @property
    def is_one(self) -> bool:
        return self.before is None or self.after is None or not self.before.same_as(self.after)

    @property
    def size(self) -> int:
        return sum(side.size for side in (self.before, self.after) if side)

    @property
    def rank(self) -> tuple[bool, int, str]:
        """Order changes by what is worth keeping: files that were there, then the new ones nearest to the top."""
        return self.before is None, self.name.count("/"), self.name


def make_patch(baseline: Baseline, frozen: Path, left_out: Sequence[str], limits: PatchLimits | None = None) -> Patch:
    """Compare a workspace's copy with what it began as; `left_out` is what `copyout` told when it made the copy.

    `.git` folders are passed over. When the copy is not whole, nothing is taken for deleted. Raises SandboxError.
    """
    notes = []
    if baseline.fingerprint != _fingerprint(baseline.folder):
        notes.append("the patch may show changes of others: the original of the workspace changed during the session")
    before, after = _began_as(baseline), dict(_files(frozen))
    whole = not any(map(is_cut, left_out))
    if not whole and before.keys() - after.keys():
        notes.append("the patch tells of no deleted files: the copy of the workspace is not whole")
    names = before.keys() | after.keys() if whole else after.keys()
    pairs = (_Change(name, before.get(name), after.get(name)) for name in names)
    changes = sorted((each for each in pairs if each.is_one), key=lambda change: change.rank)
    kept, dropped = _within(changes, limits or PatchLimits())
    if dropped:
        others = f" and {len(dropped) - 1} more" if len(dropped) > 1 else ""
        notes.append(f"the patch is without {dropped[0].name!r}{others}: it would be too large")
    changed = tuple(sorted(change.name for change in changes))
    return Patch(_diff(kept) if kept else b"", changed, tuple(notes))


def _within(changes: Sequence[_Change], limits: PatchLimits) -> tuple[list[_Change], list[_Change]]:
    kept: list[_Change] = []
    dropped: list[_Change] = []
    left = limits.total_bytes
    for change in changes:
        fits = change.size <= min(left, limits.file_bytes)
        (kept if fits else dropped).append(change)
        left -= change.size if fits else 0
    return kept, dropped


def _began_as(baseline: Baseline) -> dict[str, _File]:
    files = dict(_files(baseline.folder)) if baseline.folder else {}
    return files | {name: _File(None, data) for name, data in baseline.added.items()}


def _files(root: Path, above: str = "") -> Iterator[tuple[str, _File]]:
    """Yield name and content of each file below a folder that a patch can be about."""
    with os.scandir(root) as entries:
        for entry in entries:
            name = f"{above}{entry.name}"
            if entry.name.lower() == ".git":
                continue
            if entry.is_symlink():
                yield name, _File(None, os.fsencode(Path(entry.path).readlink()))
            elif entry.is_dir(follow_symlinks=False):
                yield from _files(Path(entry.path), f"{name}/")
            elif entry.is_file(follow_symlinks=False):
                executable = bool(entry.stat(follow_symlinks=False).st_mode & stat.S_IXUSR)
                yield name, _File(Path(entry.path), None, executable)


def _diff(changes: Sequence[_Change]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="agentcap-patch-") as place:
        repository = Path(place)
        make_repository(repository, "--bare")
        sides = [[(c.name, c.before) for c in changes], [(c.name, c.after) for c in changes]]
        stream = b"".join(_commit(number, side) for number, side in enumerate(sides))
        git(repository, "fast-import", "--quiet", stdin=stream)
        # `diff-tree` between two commits: no attribute of the tree, no driver and no rename detection has a say.
        options = ("-r", "-p", "--binary", "--full-index", "--no-renames", "--no-ext-diff", "--no-textconv")
        return git(repository, "diff-tree", *options, "refs/heads/side-0", "refs/heads/side-1")


def _commit(number: int, files: Sequence[tuple[str, _File | None]]) -> bytes:
    lines = [b"commit refs/heads/side-%d\n" % number, _HEADER]
    for name, file in files:
        if file is not None:
            data = file.read()
            mode = b"100755" if file.executable else b"100644"
            lines.append(b"M %s inline %s\ndata %d\n%s\n" % (mode, _quoted(name), len(data), data))
    return b"".join(lines)


def _quoted(name: str) -> bytes:
    plain = (32 <= byte < 127 and byte not in b'"\\' for byte in os.fsencode(name))
    parts = (bytes([byte]) if ok else b"\\%03o" % byte for byte, ok in zip(os.fsencode(name), plain, strict=True))
    return b'"' + b"".join(parts) + b'"'


def _fingerprint(folder: Path | None) -> str:
    """Return what changes whenever a file below a folder is written: names, sizes and times of modification."""
    digest = hashlib.blake2b(digest_size=16)
    if folder is not None:
        for above, folders, names in os.walk(folder):
            folders[:] = sorted(name for name in folders if name.lower() != ".git")
            for name in sorted(names):
                path = f"{above}/{name}"
                status = os.lstat(path)
                digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
