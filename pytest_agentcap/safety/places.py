"""Where a path of the agent's leads: into its workspace, to where it may write, or out of both."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from pathlib import PurePosixPath

_DEVICES = re.compile(r"/dev/(?:null|zero|random|urandom|tty|std(?:in|out|err)|fd/\d+)")
_TEMPORARY = ("/tmp", "/var/tmp")
# What programs leave behind by themselves, without anybody having asked for it.
_BY_THE_WAY = re.compile(r"(?:.*/)?(?:__pycache__|\.pytest_cache|\.mypy_cache|\.ruff_cache)(?:/.*)?|.*\.pyc")


@dataclass(frozen=True, slots=True)
class Places:
    """Resolve paths by an agent's `workspace` and `home`; `write_paths` are relative to the workspace, or absolute."""

    workspace: str
    home: str
    write_paths: tuple[str, ...]

    def resolve(self, path: str, cwd: str) -> str:
        """Return a path as an absolute one, `..` resolved by its text alone."""
        if path == "~" or path.startswith("~/"):
            path = self.home + path[1:]
        path = path.removeprefix("file://")
        # POSIX leaves a meaning to two slashes in front, which Linux does not give them.
        return posixpath.normpath(posixpath.join(cwd, path)).replace("//", "/")

    def escapes(self, path: str) -> bool:
        """Tell whether an absolute path is neither in the workspace nor a place that any program may use."""
        return not (_within(path, self.workspace) or _DEVICES.fullmatch(path) or self._is_temporary(path))

    def may_write(self, path: str) -> bool:
        """Tell whether the policy lets an absolute path be written."""
        if _DEVICES.fullmatch(path) or _BY_THE_WAY.fullmatch(path):
            return True
        allowed = (self.resolve(each, self.workspace) for each in self.write_paths)
        return any(
            _within(path, each) and (_within(each, self.workspace) or not self._is_ours(path)) for each in allowed
        )

    def _is_temporary(self, path: str) -> bool:
        return any(_within(path, folder) for folder in _TEMPORARY) and not self._is_ours(path)

    def _is_ours(self, path: str) -> bool:
        """Tell whether a path is around a workspace that is itself in a temporary folder, as without a container."""
        around = PurePosixPath(self.workspace).parts[:3]
        own = posixpath.join(posixpath.dirname(self.workspace), "tmp")
        return around[1:2] == ("tmp",) and PurePosixPath(path).parts[:3] == around and not _within(path, own)

    def shown(self, path: str) -> str:
        """Return a path as the task's author would write it: relative where it is in the workspace."""
        if _within(path, self.workspace):
            return str(PurePosixPath(path).relative_to(self.workspace))
        return path


def _within(path: str, folder: str) -> bool:
    return PurePosixPath(path).is_relative_to(posixpath.normpath(folder))
