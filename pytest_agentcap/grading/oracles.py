"""The oracles that come with the project: what a checkout holds, computed anew each time.

Their names, arguments and results are AgentGym's. Only the standard library is used: this file is loaded by a script
that runs apart from the session. Nothing outside of the checkout is read, whatever its links say.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

_LINE = re.compile(r"\s*([\w-]+)\s*:\s*(.*?)\s*", re.ASCII)
_BRACES = re.compile(r"\{([^{}]*)\}")
_YES, _NO = ("true", "yes", "y", "1"), ("false", "no", "n", "0")
_LICENSES = ("LICENSE", "LICENSE.md")


def top_level_entry_count(*, repo_root: Path, exclude: Sequence[str] = (), exclude_hidden: bool = True) -> int:
    """Count files and folders at the top, without those named in `exclude`."""
    return len([name for name in _names(repo_root, exclude_hidden) if name not in (exclude or ())])


def readme_first_nonempty_line(*, repo_root: Path, path: str = "README.md") -> str:
    """Return the first line of a file that is not blank, or an empty text."""
    lines = _text(repo_root, path).splitlines()
    return next((line for line in lines if line.strip()), "")


def glob_count(*, repo_root: Path, glob: str, exclude_dirs: Sequence[str] = ()) -> int:
    """Count the files that a pattern matches; `{a,b}` in it stands for either."""
    excluded = set(exclude_dirs or ())
    found = {path for pattern in _alternatives(glob) for path in repo_root.glob(pattern)}
    return sum(path.is_file() and not excluded & set(path.relative_to(repo_root).parts) for path in found)


def largest_file(*, repo_root: Path, exclude_dirs: Sequence[str] = ()) -> dict[str, Any]:
    """Return `path` and `size` in bytes of the largest file; of several, the first by path."""
    sizes = {path.relative_to(repo_root).as_posix(): path.stat().st_size for path in _files(repo_root, exclude_dirs)}
    if not sizes:
        return {"path": "", "size": 0}
    best = min(sizes, key=lambda name: (-sizes[name], name))
    return {"path": best, "size": sizes[best]}


def repo_token_count(
    *,
    repo_root: Path,
    token: str,
    case_insensitive: bool = False,
    exclude_dirs: Sequence[str] = (),
    max_bytes: int | None = 1_000_000,
) -> int:
    """Count a text in all files that hold no NUL byte and have at most `max_bytes`."""
    wanted = token.lower() if case_insensitive else token
    total = 0
    for path in _files(repo_root, exclude_dirs):
        if max_bytes is not None and path.stat().st_size > max_bytes:
            continue
        data = path.read_bytes()
        if b"\0" not in data:
            text = data.decode("utf-8", "ignore")
            total += (text.lower() if case_insensitive else text).count(wanted)
    return total


def has_license_file(*, repo_root: Path, paths: Sequence[str] = _LICENSES) -> bool:
    """Tell whether one of these files is there."""
    return any((repo_root / path).is_file() for path in paths)


def dir_top_entry_count(*, repo_root: Path, path: str, exclude_hidden: bool = True) -> int:
    """Count files and folders in a folder; 0 when there is no such folder."""
    folder = repo_root / path
    return len(_names(folder, exclude_hidden)) if folder.is_dir() else 0


def answer_md_contains(*, repo_root: Path, path: str, must_contain: Sequence[str]) -> bool:
    """Tell whether a file holds each of these texts."""
    return (repo_root / path).is_file() and all(text in _text(repo_root, path) for text in must_contain)


def answer_md_kv_matches(
    *,
    repo_root: Path,
    path: str,
    repo_id: str,
    exclude_top_level: Sequence[str],
    exclude_hidden: bool = True,
) -> bool:
    """Tell whether a file of `key: value` lines is right about `repo_id`, `top_level_entries` and `has_license`."""
    if not (repo_root / path).is_file():
        return False
    told = _pairs(_text(repo_root, path))
    entries = top_level_entry_count(repo_root=repo_root, exclude=exclude_top_level, exclude_hidden=exclude_hidden)
    licensed = _YES if has_license_file(repo_root=repo_root) else _NO
    return (
        told.get("repo_id") == repo_id
        and re.fullmatch(rf"\+?0*{entries}", told.get("top_level_entries", "")) is not None
        and told.get("has_license", "").lower() in licensed
    )


ORACLES: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        top_level_entry_count,
        readme_first_nonempty_line,
        glob_count,
        largest_file,
        repo_token_count,
        has_license_file,
        dir_top_entry_count,
        answer_md_contains,
        answer_md_kv_matches,
    )
}


def _names(folder: Path, exclude_hidden: bool) -> list[str]:
    names = (path.name for path in folder.iterdir())
    return [name for name in names if not (exclude_hidden and name.startswith("."))]


def _text(root: Path, path: str) -> str:
    target = (root / path).resolve()
    if not target.is_relative_to(root.resolve()):
        raise ValueError(f"{path} leads out of the repository")
    return target.read_text("utf-8", "replace")


def _files(root: Path, exclude_dirs: Collection[str]) -> Iterator[Path]:
    """Yield the files of a tree; links to files count as what they lead to, when that is in the tree."""
    top = root.resolve()
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in (exclude_dirs or ())]
        for name in names:
            path = Path(folder, name)
            if path.is_file() and (not path.is_symlink() or path.resolve().is_relative_to(top)):
                yield path


def _alternatives(pattern: str) -> list[str]:
    found = _BRACES.search(pattern)
    if found is None:
        return [pattern]
    options = [option.strip() for option in found[1].split(",") if option.strip()]
    before, after = pattern[: found.start()], pattern[found.end() :]
    return [each for option in options for each in _alternatives(f"{before}{option}{after}")]


def _pairs(text: str) -> dict[str, str]:
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return {found[1].lower(): found[2] for line in lines if (found := _LINE.fullmatch(line))}
