"""A push: runs become files of a captures repository, of one traces repository per agent, and of a collection."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete

from pytest_agentcap.publish.card import CardError, captures_card, traces_card
from pytest_agentcap.publish.destination import Destination
from pytest_agentcap.publish.remote import Hub, Operations, PushError, RepoState
from pytest_agentcap.publish.stage import StagedRun
from pytest_agentcap.publish.summary import summary_of

CARD = "README.md"
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class PushOptions:
    """Say how to publish: `replace` removes what was published of the same runs before.

    `keep_card` leaves a card that is there as it is: one that sums up all files is work for the last of many who push.
    """

    public: bool = False
    license_id: str | None = None
    replace: bool = False
    dry_run: bool = False
    keep_card: bool = False


def push(hub: Hub, place: Destination, staged: Sequence[StagedRun], options: PushOptions, say: Say) -> None:
    """Publish staged runs, one commit for each repository; what is there already is not sent again.

    It may be repeated after it broke off. Raises PushError.
    """
    by_agent: dict[str, list[StagedRun]] = {}
    for run in staged:
        if run.traces:
            by_agent.setdefault(run.agent, []).append(run)
    repos = [place.captures, *(place.traces(agent) for agent in by_agent)]
    if options.dry_run:
        _tell_dry(hub, place, staged, by_agent, options, say)
        return
    for repo in repos:
        ensure_repository(hub, repo, options, say)
    captures = _Captures(hub, place, staged, options, say)
    url = hub.commit(place.captures, f"agentcap export: add {len(staged)} parquet(s)", captures.operations)
    say(f"{place.captures}: {url or 'nothing new'}")
    for agent, runs in by_agent.items():
        traces = _Traces(hub, place, agent, runs, options)
        files = sum(len(run.traces) for run in runs)
        message = f"agentcap export: add {agent} traces ({files} file(s) across {len(runs)} run(s))"
        say(f"{place.traces(agent)}: {hub.commit(place.traces(agent), message, traces.operations) or 'nothing new'}")
    say(f"collection: {hub.collect(place.owner, place.base, not options.public, repos)}")


@dataclass(frozen=True, slots=True)
class _Captures:
    hub: Hub
    place: Destination
    staged: Sequence[StagedRun]
    options: PushOptions
    say: Say

    def operations(self, state: RepoState) -> Operations:
        repo = self.place.captures
        new = {f"data/{run.name}": run for run in self.staged if f"data/{run.name}" not in state.digests}
        stale = _stale(self.staged, state)
        if stale and not self.options.replace:
            self.say(f"{repo}: {', '.join(stale)} hold an earlier state of these runs; --replace removes them")
        removed = stale if self.options.replace else []
        changes: list[CommitOperationAdd | CommitOperationDelete] = [
            *(CommitOperationAdd(path, str(run.parquet)) for path, run in sorted(new.items())),
            *(CommitOperationDelete(path) for path in removed),
        ]
        if self.options.keep_card and CARD in state.digests:
            return changes
        kept = [p for p in state.digests if p.endswith(".parquet") and p.startswith("data/") and p not in removed]
        footers = self.hub.footers(repo, kept, state.head)
        for path in (path for path, footer in footers.items() if footer is None):
            self.say(f"{repo}: {path} is no parquet file: `load_dataset` will not read the others for it")
        summaries: dict[str, Mapping[str, Any]] = {path: summary_of(f) for path, f in footers.items() if f is not None}
        summaries |= {path: run.summary for path, run in new.items()}
        before = _card(self.hub, repo, state)
        try:
            card = captures_card(before, self.place, summaries, self.options.license_id)
        except CardError as error:
            raise PushError(f"{repo}: {error}: mend it there and push again") from error
        if not changes and card == before:
            return []
        return [*changes, CommitOperationAdd(CARD, card.encode())]


@dataclass(frozen=True, slots=True)
class _Traces:
    hub: Hub
    place: Destination
    agent: str
    runs: Sequence[StagedRun]
    options: PushOptions

    def operations(self, state: RepoState) -> Operations:
        repo = self.place.traces(self.agent)
        wanted = {path: (file, run.form) for run in self.runs for path, file in run.traces.items()}
        new = {path: told for path, told in wanted.items() if not state.holds(path, told[0])}
        if not new:
            return []
        adds = [CommitOperationAdd(path, str(file)) for path, (file, _) in sorted(new.items())]
        if self.options.keep_card and CARD in state.digests:
            return adds
        forms = {path: "JSONL" for path in state.digests if path.startswith("data/")}
        forms |= {path: form for path, (_, form) in wanted.items()}
        try:
            card = traces_card(_card(self.hub, repo, state), self.place, self.agent, forms, self.options.license_id)
        except CardError as error:
            raise PushError(f"{repo}: {error}: mend it there and push again") from error
        return [*adds, CommitOperationAdd(CARD, card.encode())]


def _stale(staged: Sequence[StagedRun], state: RepoState) -> list[str]:
    """Return the files that hold an earlier state of these runs."""
    current = {f"data/{run.name}" for run in staged}
    return sorted(p for p in state.digests if p not in current and any(run.is_earlier(p) for run in staged))


def _card(hub: Hub, repo: str, state: RepoState) -> str | None:
    return hub.read(repo, CARD, state.head).decode("utf-8", "replace") if CARD in state.digests else None


def ensure_repository(hub: Hub, repo: str, options: PushOptions, say: Say) -> None:
    """Make a repository unless it is there, and say so when it is not as private or public as was asked for."""
    state = hub.state(repo)
    if state is None:
        hub.create(repo, private=not options.public)
    elif state.private == options.public:
        kind = "private" if state.private else "public"
        say(f"{repo} is there already and stays {kind}: change that in its settings")


def tell_file(path: str, file: Path, state: RepoState | None, say: Say) -> None:
    """Say what a push would do with a file."""
    there = state is not None and state.holds(path, file)
    say(f"  {path}: {'there already' if there else f'{file.stat().st_size:,} bytes'}")


def tell_stale(paths: Sequence[str], options: PushOptions, say: Say) -> None:
    """Say what a push would do with files that hold an earlier state."""
    for path in paths:
        say(f"  {path}: an earlier state, {'removed' if options.replace else '--replace removes it'}")


def _tell_dry(
    hub: Hub,
    place: Destination,
    staged: Sequence[StagedRun],
    by_agent: Mapping[str, Sequence[StagedRun]],
    options: PushOptions,
    say: Say,
) -> None:
    kind = "public" if options.public else "private"
    for repo in [place.captures, *(place.traces(agent) for agent in by_agent)]:
        state = hub.state(repo)
        say(f"would push to {repo} ({'there already' if state else f'new, {kind}'}):")
        for path, file in sorted(_files(place, repo, staged, by_agent).items()):
            tell_file(path, file, state, say)
        if state and repo == place.captures:
            tell_stale(_stale(staged, state), options, say)
    say(f"would put them into the collection {place}")


def _files(
    place: Destination, repo: str, staged: Sequence[StagedRun], by_agent: Mapping[str, Sequence[StagedRun]]
) -> dict[str, Path]:
    if repo == place.captures:
        return {f"data/{run.name}": run.parquet for run in staged}
    return {
        p: f
        for agent, runs in by_agent.items()
        if place.traces(agent) == repo
        for r in runs
        for p, f in r.traces.items()
    }
