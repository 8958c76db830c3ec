"""Where everything of a run lies on disk."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

FOLDER = ".agentcap"
_SLUG = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """Name the places inside `.agentcap/<agent>-<provider>-<utc>/`."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def manifest(self) -> Path:
        return self.path / "run.json"

    @property
    def plan(self) -> Path:
        """Return where the tests are listed that are to have a session in this run."""
        return self.path / "plan.json"

    @property
    def captures(self) -> Path:
        return self.path / "captures"

    @property
    def sessions(self) -> Path:
        return self.path / "sessions"

    @property
    def results(self) -> Path:
        return self.path / "results"

    @property
    def parquet(self) -> Path:
        return self.path / "captures.parquet"

    @property
    def scan(self) -> Path:
        return self.path / "scan.json"

    def trace(self, session: str) -> Path:
        """Return the folder of the agent's own log of a session."""
        return self.path / "traces" / session

    def patch(self, session: str) -> Path:
        """Return where the changes that a session made to its workspace are kept."""
        return self.path / "workspaces" / f"{session}.patch"

    def journal(self, session: str) -> Path:
        return self.captures / f"{session}.journal"

    def result(self, session: str) -> Path:
        return self.results / f"{session}.json"

    def output(self, session: str, turn: int, stream: str) -> Path:
        """Return where a turn's `out` or `err` is kept."""
        return self.sessions / f"{session}_turn_{turn:02d}.{stream}"


def workspace_folder(argument: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder that holds all runs: the argument, else $AGENTCAP_WORKSPACE, else here; in `.agentcap/`."""
    base = Path(argument or os.environ.get("AGENTCAP_WORKSPACE") or Path.cwd())
    # `.` has no name of its own.
    return base if base.absolute().name == FOLDER else base / FOLDER


def create_run(
    folder: Path, agent: str, provider: str, now: datetime | None = None, shard: str | None = None
) -> RunDirectory:
    """Make a run directory that nobody else has; a name that is taken gets `-2`, `-3` and so on.

    Shards that start in the same second, each on a machine of its own, get names that differ wherever they are put
    together: with the shard, `I/N`, and six random digits.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        write_whole(ignore, b"*\n")
    stamp = (now or datetime.now(UTC)).strftime("%Y%m%d-%H%M%S")
    name = f"{_SLUG.sub('-', agent)}-{_SLUG.sub('-', provider)}-{stamp}"
    if shard:
        name += f"-shard{shard.replace('/', 'of')}-{secrets.token_hex(3)}"
    ordinal = 1
    while True:
        run = RunDirectory(folder / (name if ordinal == 1 else f"{name}-{ordinal}"))
        try:
            run.path.mkdir()
        except FileExistsError:
            ordinal += 1
            continue
        for place in (run.captures, run.sessions, run.results):
            place.mkdir()
        return run


def find_runs(folder: Path) -> Iterator[RunDirectory]:
    """Yield the runs of a workspace, oldest name first."""
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            if (path / "captures").is_dir():
                yield RunDirectory(path)


def write_whole(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file that is there as a whole or not at all, replacing an older one."""
    temporary = _temporary(path, data, mode)
    try:
        temporary.replace(path)
    except BaseException:
        temporary.unlink()
        raise


def write_private(path: Path, data: bytes, *, replace: bool = True) -> None:
    """Write a file as a whole, 0600, without the random name and the change of mode that cost more than a small write.

    Without `replace`, a file that is there stays.

    Two processes may write the same file at once, two threads may not. What a process that was killed leaves is never
    taken for the file, and `remove_torn` removes it.
    """
    temporary = f"{path.parent}/.{path.name}.{os.getpid()}"
    try:
        with open(temporary, "wb", buffering=0, opener=_private) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # One write may take a part only: on a disk that is almost full, or of more than 2 GB.
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]
        if replace:
            os.rename(temporary, path)  # noqa: PTH104
            return
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(temporary)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    Path(temporary).unlink()


def remove_torn(folder: Path) -> None:
    """Remove what processes that were killed left of files that they did not get to write."""
    for path in folder.glob(".*.json.*"):
        with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def create_whole(path: Path, data: bytes, mode: int = 0o644) -> bool:
    """Write a file as a whole unless it is there; tell whether it was written."""
    temporary = _temporary(path, data, mode)
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    return True


def _temporary(path: Path, data: bytes, mode: int) -> Path:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        temporary.chmod(mode)
    except BaseException as error:
        temporary.unlink()
        if isinstance(error, OSError) and error.filename is None:
            # A disk that is full does not tell of what.
            error.filename = str(path)
        raise
    return temporary
