"""Files into and out of a container, as tar archives through podman."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import IO

from podman.api.client import APIClient

from pytest_agentcap.sandbox.base import SandboxError
from pytest_agentcap.sandbox.copyout import CopyLimits, copy_tar
from pytest_agentcap.sandbox.service import explained

# Every agent's Containerfile makes the user `agent` with this number.
AGENT_UID = 1000

_CHUNK = 1 << 20


class ContainerFiles:
    """The files of one container, running or stopped. What is put in belongs to the agent's user."""

    def __init__(self, api: APIClient, container: str) -> None:
        self._api = api
        self._url = f"/containers/{container}/archive"

    def put(self, path: PurePosixPath, data: bytes, mode: int) -> None:
        """Write one file; parent folders are made, and those that exist keep owner and mode. Raises SandboxError."""
        base, missing = self._missing(path.parent)
        entry = tarfile.TarInfo(str(path.relative_to(base)))
        entry.size = len(data)
        entry.mode = mode
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            _add_folders(archive, missing)
            archive.addfile(_owned(entry), io.BytesIO(data))
        packed.seek(0)
        self._unpack(base, packed)

    def put_tree(self, source: Path, path: PurePosixPath) -> None:
        """Copy a host folder's content into `path`: regular files, folders, and links as links. Raises SandboxError."""
        base, missing = self._missing(path)
        with tempfile.TemporaryFile() as packed:
            try:
                with tarfile.open(fileobj=packed, mode="w") as archive:
                    _add_folders(archive, missing)
                    for entry in sorted(source.iterdir()):
                        archive.add(entry, arcname=str(path.relative_to(base) / entry.name), filter=_wanted)
            except OSError as error:
                raise SandboxError(f"{source} cannot be copied into the sandbox: {error}") from error
            packed.seek(0)
            self._unpack(base, packed)

    def copy_out(self, path: PurePosixPath, into: Path, limits: CopyLimits, root: str | None = None) -> list[str]:
        """Copy a folder out by the rules of `copyout`; return what was left out, a line each. Raises SandboxError.

        With a name for it, it is copied under that name, and may be a file.
        """
        with explained(f"{path} cannot be copied out of the container"):
            answer = self._api.get(self._url, params={"path": str(path)}, stream=True)
            try:
                if answer.status_code == 404:
                    return [f"{str(path)!r} is not there"]
                answer.raise_for_status()
                return copy_tar(answer.iter_content(_CHUNK), into, limits, root)
            finally:
                answer.close()

    def _missing(self, folder: PurePosixPath) -> tuple[PurePosixPath, list[PurePosixPath]]:
        """Return the nearest folder at or above `folder` that exists, and those below it, relative, that do not."""
        missing: list[PurePosixPath] = []
        while folder != folder.parent and not self._exists(folder):
            missing.insert(0, folder)
            folder = folder.parent
        return folder, [path.relative_to(folder) for path in missing]

    def _exists(self, path: PurePosixPath) -> bool:
        with explained(f"podman cannot look for {path} in the container"):
            answer = self._api.head(self._url, params={"path": str(path)})
            if answer.status_code == 404:
                return False
            answer.raise_for_status()
            return True

    def _unpack(self, folder: PurePosixPath, packed: IO[bytes]) -> None:
        # `copyUIDGID` is podman's name for "give everything to the container's user", which is the relay's.
        params = {"path": str(folder), "copyUIDGID": "false"}
        with explained(f"files cannot be copied to {folder} in the container"):
            self._api.put(self._url, params=params, data=packed).raise_for_status()


def _add_folders(archive: tarfile.TarFile, folders: Iterable[PurePosixPath]) -> None:
    for folder in folders:
        entry = tarfile.TarInfo(str(folder))
        entry.type = tarfile.DIRTYPE
        entry.mode = 0o755
        archive.addfile(_owned(entry))


def _wanted(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return _owned(entry) if entry.isreg() or entry.isdir() or entry.issym() or entry.islnk() else None


def _owned(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = AGENT_UID
    entry.uname = entry.gname = ""
    entry.mode &= 0o777
    return entry
