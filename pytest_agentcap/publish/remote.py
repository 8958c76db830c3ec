"""The Hub as a push needs it: what a repository holds, and one commit that others cannot come between."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
import pyarrow.parquet as pq
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, HfFileSystem
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

_T = TypeVar("_T")
Operations = Sequence[CommitOperationAdd | CommitOperationDelete]
_TRIES = 7
# Many who push to one repository at once are let in one after another.
_TRIES_OVERTAKEN = 30
_LONGEST_PAUSE_S = 60.0
_LONGEST_TURN_S = 15.0
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_OVERTAKEN = 412


class PushError(Exception):
    """Say in one line why nothing was published, or what of it was not."""


@dataclass(frozen=True, slots=True)
class RepoState:
    """Hold what a repository has at one commit: sizes by path; `private` is what anybody else may see."""

    head: str
    sizes: dict[str, int]
    private: bool


class Hub:
    """Talk to the Hub with patience; `pause` is told how many seconds to wait before another try."""

    def __init__(self, api: HfApi, pause: Callable[[float], None] = time.sleep) -> None:
        self.api = api
        self._pause = pause

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
        return RepoState(
            str(info.sha), {each.path: each.size for each in tree if hasattr(each, "size")}, bool(info.private)
        )

    def read(self, repo: str, path: str, revision: str) -> bytes:
        """Return the content of a small file."""
        found: bytes = self._patiently(
            lambda: self._files().cat_file(f"datasets/{repo}/{path}", revision=revision),
            f"{repo}: {path} cannot be read",
        )
        return found

    def footer(self, repo: str, path: str, revision: str) -> pq.FileMetaData:
        """Read a parquet file's footer, and nothing else of it."""

        def ask() -> pq.FileMetaData:
            with self._files().open(f"datasets/{repo}/{path}", revision=revision, block_size=1 << 16) as file:
                return pq.read_metadata(file)

        return self._patiently(ask, f"{repo}: {path} cannot be read")

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
        while failed < _TRIES and overtaken < _TRIES_OVERTAKEN:
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
            except HfHubHTTPError as error:
                # A server error may come after the commit was made: then the next look shows nothing left to do.
                if error.response.status_code not in _PASSING | {_OVERTAKEN}:
                    raise PushError(f"{repo} refuses the commit: {one_line(error)}") from error
                if error.response.status_code == _OVERTAKEN:
                    overtaken += 1
                    self._pause(random.uniform(0.2, min(2.0**overtaken, _LONGEST_TURN_S)))
                else:
                    self._pause(_pause_s(failed, error))
                    failed += 1
            except httpx.TransportError as error:
                self._pause(_pause_s(failed, error))
                failed += 1
            except ValueError as error:
                # The client has cards checked before it sends anything.
                raise PushError(f"{repo}: {one_line(error)}") from error
            else:
                return str(info.commit_url)
        raise PushError(f"{repo} took no commit in {failed + overtaken} tries: try again later")

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

    def _patiently(self, ask: Callable[[], _T], doing: str) -> _T:
        for attempt in range(_TRIES):
            try:
                return ask()
            except RepositoryNotFoundError:
                raise
            except HfHubHTTPError as error:
                if error.response.status_code not in _PASSING:
                    raise PushError(f"{doing}: {one_line(error)}") from error
                failure: Exception = error
            except httpx.TransportError as error:
                failure = error
            self._pause(_pause_s(attempt, failure))
        raise PushError(f"{doing}: {one_line(failure)}") from failure


def _only_new_files(operations: Operations, state: RepoState) -> bool:
    return all(isinstance(each, CommitOperationAdd) and each.path_in_repo not in state.sizes for each in operations)


def _pause_s(attempt: int, error: Exception) -> float:
    """Return seconds to wait: what the Hub asks for, else 1, 2, 4 and so on."""
    asked = error.response.headers.get("retry-after", "") if isinstance(error, HfHubHTTPError) else ""
    return min(float(asked) if asked.isdigit() else 2.0**attempt, _LONGEST_PAUSE_S)


def one_line(error: Exception) -> str:
    """Return what an error says, without the lines that only a library's author needs."""
    message: Any = getattr(error, "server_message", None) or str(error)
    return " ".join(str(message).split())[:300]
