"""The Hub as a push needs it: what a repository holds, and one commit that others cannot come between."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, HfFileSystem
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile

from pytest_agentcap.conversation.files import hub_errors

_T = TypeVar("_T")
Operations = Sequence[CommitOperationAdd | CommitOperationDelete]
_TRIES = 7
# Before anything is made, somebody waits for the answer.
_TRIES_BEFORE = 3
# Many who push to one repository at once are let in one after another.
_TRIES_OVERTAKEN = 30
_LONGEST_PAUSE_S = 60.0
_LONGEST_TURN_S = 15.0
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
# A commit that came first, or one that is being made.
_OVERTAKEN = frozenset({409, 412})
_SHA256_DIGITS = 64
_FOOTERS_AT_ONCE = 8


class PushError(Exception):
    """Say in one line why nothing was published, or what of it was not."""


@dataclass(frozen=True, slots=True)
class RepoState:
    """Hold what a repository has at one commit: by path, the digest of each file's content.

    It is the SHA-256 of a large file, and git's SHA-1 of others. `private` is what anybody else may see.
    """

    head: str
    digests: dict[str, str]
    private: bool

    def holds(self, path: str, file: Path) -> bool:
        """Tell whether the repository has a file of this machine, with this very content, under a path."""
        digest = self.digests.get(path)
        if digest is None:
            return False
        begun = hashlib.sha256() if len(digest) == _SHA256_DIGITS else hashlib.sha1(b"blob %d\0" % file.stat().st_size)
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, lambda: begun).hexdigest() == digest


class Hub:
    """Talk to the Hub with patience; `pause` is told how many seconds to wait before another try."""

    def __init__(self, api: HfApi, pause: Callable[[float], None] = time.sleep) -> None:
        self.api = api
        self._pause = pause

    def whoami(self) -> dict[str, Any]:
        """Return whom the token is of.

        Raises PushError, and LocalTokenNotFoundError when there is no token.
        """
        return self._patiently(self.api.whoami, "--push: the token cannot be checked", _TRIES_BEFORE)

    def state(self, repo: str) -> RepoState | None:
        """Return what a dataset repository holds; None when there is none that we can see."""
        try:
            info = self._patiently(lambda: self.api.dataset_info(repo), f"{repo} cannot be looked at")
            tree = self._patiently(
                lambda: list(self.api.list_repo_tree(repo, repo_type="dataset", recursive=True, revision=info.sha)),
                f"{repo} cannot be listed",
            )
        except RepositoryNotFoundError:
            return None
        files = [each for each in tree if isinstance(each, RepoFile)]
        digests = {each.path: each.lfs.sha256 if each.lfs else each.blob_id for each in files}
        return RepoState(str(info.sha), digests, bool(info.private))

    def read(self, repo: str, path: str, revision: str) -> bytes:
        """Return the content of a small file."""
        found: bytes = self._patiently(
            lambda: self._files().cat_file(f"datasets/{repo}/{path}", revision=revision),
            f"{repo}: {path} cannot be read",
        )
        return found

    def footers(self, repo: str, paths: Sequence[str], revision: str) -> dict[str, pq.FileMetaData | None]:
        """Read parquet files' footers, and nothing else of them; None for one that is no parquet file."""
        files = self._files()

        def ask(path: str) -> pq.FileMetaData | None:
            with files.open(f"datasets/{repo}/{path}", revision=revision, block_size=1 << 16) as file:
                try:
                    return pq.read_metadata(file)
                except pa.ArrowInvalid:
                    return None

        def read(path: str) -> pq.FileMetaData | None:
            return self._patiently(lambda: ask(path), f"{repo}: {path} cannot be read")

        with ThreadPoolExecutor(_FOOTERS_AT_ONCE) as pool:
            return dict(zip(paths, pool.map(read, paths), strict=True))

    def _files(self) -> HfFileSystem:
        return HfFileSystem(endpoint=self.api.endpoint, token=self.api.token, use_listings_cache=False)

    def create(self, repo: str, private: bool) -> None:
        self._patiently(
            lambda: self.api.create_repo(repo, repo_type="dataset", private=private, exist_ok=True),
            f"{repo} cannot be created",
        )

    def commit(self, repo: str, message: str, make: Callable[[RepoState], Operations]) -> str | None:
        """Commit what `make` wants on top of what is there; made anew when another commit came first.

        Files that were not there before do not depend on what others commit meanwhile. Returns the commit's URL, or
        None when `make` wants nothing. Raises PushError.
        """
        failed = overtaken = 0
        said, pause_s = "", 0.0
        while failed < _TRIES and overtaken < _TRIES_OVERTAKEN:
            if pause_s:
                self._pause(pause_s)
            state = self.state(repo)
            if state is None:
                raise PushError(f"{repo} cannot be seen: check that the token may write there")
            operations = make(state)
            if not operations:
                return None
            parent = None if _only_new_files(operations, state) else state.head
            try:
                info = self.api.create_commit(
                    repo, operations, commit_message=message, repo_type="dataset", parent_commit=parent
                )
            except ValueError as error:
                # The client has cards checked before it sends anything.
                raise PushError(f"{repo}: {one_line(error)}") from error
            except _failures() as error:
                # A failure may come after the commit was made: then the next look shows nothing left to do.
                said, status = one_line(error), _status(error)
                if status in _OVERTAKEN:
                    overtaken += 1
                    pause_s = random.uniform(0.2, min(2.0**overtaken, _LONGEST_TURN_S))
                elif _may_pass(error):
                    pause_s = _pause_s(failed, error)
                    failed += 1
                else:
                    raise PushError(f"{repo} refuses the commit: {said}") from error
            else:
                return str(info.commit_url)
        raise PushError(f"{repo} took no commit in {failed + overtaken} tries: {said}")

    def collect(self, owner: str, title: str, private: bool, repos: Sequence[str]) -> str:
        """Put repositories into the collection of a title, made when it is not there; return its URL."""

        def put() -> str:
            collection = self.api.create_collection(
                title,
                namespace=owner,
                description="agentcap: paired HTTP captures and native session traces. Join on run_id.",
                private=private,
                exists_ok=True,
            )
            for repo in repos:
                self.api.add_collection_item(collection.slug, repo, "dataset", exists_ok=True)
            return str(collection.url)

        return self._patiently(put, f"the collection {owner}/{title} cannot be made")

    def _patiently(self, ask: Callable[[], _T], doing: str, tries: int = _TRIES) -> _T:
        for attempt in range(tries):
            try:
                return ask()
            except (RepositoryNotFoundError, LocalTokenNotFoundError):
                raise
            except _failures() as error:
                if not _may_pass(error) or attempt + 1 == tries:
                    raise PushError(f"{doing}: {one_line(error)}") from error
                self._pause(_pause_s(attempt, error))
        raise AssertionError("the last try returns or raises")


def _failures() -> tuple[type[Exception], ...]:
    """Return what the Hub's client raises: when a request fails, when an upload does, when this machine refuses."""
    return (*hub_errors(), RuntimeError, OSError)


def _status(error: Exception) -> int | None:
    """Return the status that the Hub answered with; None when it gave no answer, or an upload broke off."""
    # The client hides why an upload failed behind an error of its own.
    cause = error.__cause__ if isinstance(error, RuntimeError) else error
    return cause.response.status_code if isinstance(cause, HfHubHTTPError) else None


def _may_pass(error: Exception) -> bool:
    """Tell whether the same request may have an answer later; what this machine itself refuses will not."""
    status = _status(error)
    return status in _PASSING if status is not None else isinstance(error, (*hub_errors(), RuntimeError))


def _only_new_files(operations: Operations, state: RepoState) -> bool:
    return all(isinstance(each, CommitOperationAdd) and each.path_in_repo not in state.digests for each in operations)


def _pause_s(attempt: int, error: Exception) -> float:
    """Return seconds to wait: what the Hub asks for, else 1, 2, 4 and so on."""
    asked = error.response.headers.get("retry-after", "") if isinstance(error, HfHubHTTPError) else ""
    return min(float(asked) if asked.isdigit() else 2.0**attempt, _LONGEST_PAUSE_S)


def one_line(error: Exception) -> str:
    """Return what an error says, without the lines that only a library's author needs."""
    message: Any = getattr(error, "server_message", None) or str(error)
    return " ".join(str(message).split())[:300]
