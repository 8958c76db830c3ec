"""What a session's working directory is a copy of: a folder, or a git repository at a ref."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_agentcap.runs.layout import FOLDER, workspace_folder
from pytest_agentcap.sandbox.base import SandboxError
from pytest_agentcap.sandbox.files import locked, remove_tree, special_files
from pytest_agentcap.sandbox.git import git, make_repository

if TYPE_CHECKING:
    from pytest_agentcap.sandbox.reaper import OwnerState

_REMOTE = re.compile(r"(?:https?|ssh|git)://\S+|[\w.-]+@[\w.-]+:\S+")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_FOLDER = "workspaces"


@dataclass(frozen=True, slots=True)
class Workspace:
    """Name the folder that sessions start from, where it comes from, and its commit if that is a repository."""

    folder: Path
    source: str
    commit: str | None = None


@dataclass(frozen=True, slots=True)
class Repository:
    """Name a git repository, by URL or path, and a branch, tag or commit of it."""

    location: str
    ref: str

    @classmethod
    def parse(cls, text: str, base: Path) -> Repository:
        """Read `REPOSITORY@REF`; paths begin at `base`. Raises ValueError saying what is wrong."""
        location, at, ref = text.rpartition("@")
        if not at or not ref or ":" in ref or ref.startswith(("-", "/")) or re.search(r"\s", ref):
            raise ValueError("there is no such folder; a git repository is given as URL@REF or PATH@REF")
        if _REMOTE.fullmatch(location):
            return cls(location, ref)
        path = base / location.removeprefix("file://")
        if not path.is_dir():
            raise ValueError(f"there is neither a folder nor a repository {location}")
        return cls(str(path.resolve()), ref)

    @property
    def is_local(self) -> bool:
        return self.location.startswith("/")

    @property
    def public(self) -> str:
        """Return the location without a password that stands in its URL."""
        return re.sub(r"(?<=://)[^/@]*@", "", self.location)


def prepare_workspace(given: Path | str, state: OwnerState, base: Path) -> Workspace:
    """Return what a session's workspace is a copy of; a repository is fetched and checked out once for all sessions.

    A repository is kept in the user's cache, so that a commit that is known needs no network. Of a folder in which runs
    lie, a copy without them is made once for all sessions. Raises SandboxError.
    """
    folder = (base / given).resolve()
    if folder.is_dir():
        holds_runs = (folder / FOLDER).is_dir() or workspace_folder().resolve().is_relative_to(folder)
        return Workspace(_without_runs(folder, state) if holds_runs else folder, str(given))
    try:
        repository = Repository.parse(str(given), base)
    except ValueError as error:
        raise SandboxError(f"--workspace {given}: {error}") from error
    try:
        return prepare_repository(repository, state)
    except SandboxError as error:
        raise SandboxError(f"--workspace {error}") from error


def _without_runs(folder: Path, state: OwnerState) -> Path:
    """Copy a folder without the runs in it: they tell what other sessions did, and grow while sessions begin."""
    places = _places(state)
    copy = places / hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]
    with locked(copy.with_suffix(".lock")):
        if not copy.exists():
            partial = copy.with_suffix(".partial")
            remove_tree(partial)
            try:
                shutil.copytree(folder, partial, symlinks=True, ignore=_runs_and_special_files)
            except (OSError, shutil.Error) as error:
                raise SandboxError(f"--workspace {folder}: cannot be copied: {error}") from error
            partial.rename(copy)
    return copy


def _runs_and_special_files(folder: str, names: list[str]) -> list[str]:
    return [*special_files(folder, names), *({FOLDER} & set(names))]


def _places(state: OwnerState) -> Path:
    places = state.folder / _FOLDER
    places.mkdir(exist_ok=True)
    return places


def prepare_repository(repository: Repository, state: OwnerState) -> Workspace:
    """Return a checkout of a repository, which is made once for all sessions. Raises SandboxError."""
    source = f"{repository.public}@{repository.ref}"
    key = hashlib.sha256(f"{repository.location}\0{repository.ref}".encode()).hexdigest()[:32]
    places = _places(state)
    checkout, known = places / key, places / f"{key}.commit"
    with locked(places / f"{key}.lock"):
        if not known.exists():
            remove_tree(checkout)
            try:
                commit = _check_out(repository, checkout)
            except SandboxError as error:
                raise SandboxError(f"{source}: {error}") from error
            known.write_text(commit)
    return Workspace(checkout, source, known.read_text())


def _check_out(repository: Repository, folder: Path) -> str:
    """Make a checkout of its own, with the history of the ref and nothing else of the repository; return its commit."""
    cache = _cache_folder() / f"{hashlib.sha256(repository.location.encode()).hexdigest()[:32]}.git"
    with locked(cache.with_suffix(".lock")):
        if not cache.exists():
            make_repository(cache, "--bare")
        commit, branch = _fetch(cache, repository)
        kept = f"refs/agentcap/{commit}"
        git(cache, "update-ref", kept, commit)
        make_repository(folder / ".git", "--bare")
        git(folder / ".git", "config", "core.bare", "false")
        git(folder / ".git", "fetch", "--quiet", "--no-tags", "--", str(cache), kept)
    # Where it was fetched from is this machine's business.
    (folder / ".git" / "FETCH_HEAD").unlink()
    if not repository.is_local:
        git(folder, "remote", "add", "origin", repository.public)
    if branch:
        git(folder, "checkout", "--quiet", "-B", branch, commit)
    else:
        git(folder, "checkout", "--quiet", "--detach", commit)
    return commit


def _fetch(cache: Path, repository: Repository) -> tuple[str, str | None]:
    """Bring a ref into the cache; return its commit, and its name if it is a branch. Raises SandboxError."""
    ref = repository.ref
    if _COMMIT.fullmatch(ref) and _resolve(cache, ref):
        return ref, None
    try:
        git(cache, "fetch", "--quiet", "--no-tags", "--", repository.location, ref, as_user=True)
    except SandboxError:
        # Not every server hands out a commit by its hash, and none a shortened one: they are found in the whole.
        everything = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
        git(cache, "fetch", "--quiet", "--prune", "--", repository.location, *everything, as_user=True)
        commit = _resolve(cache, ref)
        if commit is None:
            raise SandboxError(f"{ref!r} is no branch, tag or commit of it") from None
        return commit, None
    commit = _resolve(cache, "FETCH_HEAD")
    if commit is None:
        raise SandboxError(f"{ref!r} is no commit")
    told = (cache / "FETCH_HEAD").read_text("utf-8", "replace")
    return commit, ref if f"branch '{ref}'" in told else None


def _resolve(cache: Path, name: str) -> str | None:
    try:
        return git(cache, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").decode().strip()
    except SandboxError:
        return None


def _cache_folder() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "agentcap" / "git"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
