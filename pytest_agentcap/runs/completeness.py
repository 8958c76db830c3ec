"""What became of the tests that runs were to run, told by their manifests: done, failed, to be run again, missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_agentcap.runs.attempts import Selected, read_plan, read_selected
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.manifest import read_manifest
from pytest_agentcap.runs.order import results_by_session
from pytest_agentcap.runs.results import GOOD_VERDICTS

_CELL = ("agent", "model", "provider", "label")


@dataclass(frozen=True, slots=True)
class Part:
    """Hold one run's manifest and results; `errors` are its results that cannot be read, one line each."""

    run: RunDirectory
    manifest: Mapping[str, Any]
    planned: frozenset[str]
    selected: Selected | None
    results: tuple[Mapping[str, Any], ...]
    errors: tuple[str, ...]

    @classmethod
    def read(cls, run: RunDirectory) -> Part:
        """Read a run.

        Raises ValueError when it does not tell what was to run.
        """
        if not run.plan.exists():
            raise ValueError(
                f"{run.path} is left out: it has no {run.plan.name}, which lists the tests that were to run; its "
                "session ended before it had collected them, or another program made it"
            )
        results, errors = results_by_session(run)
        planned, selected = read_plan(run), read_selected(run)
        return cls(run, read_manifest(run), planned, selected, tuple(results.values()), tuple(errors))

    @property
    def expected(self) -> frozenset[str]:
        """Return the node ids of what was to run, without the tests that were skipped and never run later."""
        begun = {result["nodeid"] for result in self.results}
        return self.planned - (frozenset(self.manifest.get("skipped") or ()) - begun)

    @property
    def shard(self) -> str | None:
        shard = self.manifest.get("shard")
        return shard if isinstance(shard, str) else None


@dataclass(frozen=True, slots=True)
class Census:
    """Count what became of one agent's and model's tests; every test is in one of the four, by its last attempt.

    `failed` have a verdict that stands, `infra` have none that does and are to be run again. `selected` is the number
    of all shards' tests; of those that no manifest lists, only their number is known.
    """

    cell: Mapping[str, Any]
    parts: tuple[Part, ...]
    selected: int
    done: tuple[str, ...]
    failed: tuple[str, ...]
    infra: tuple[str, ...]
    missing: tuple[str, ...]
    skipped: int

    @property
    def unlisted(self) -> int:
        listed = sum(map(len, (self.done, self.failed, self.infra, self.missing)))
        return self.selected - self.skipped - listed

    @property
    def complete(self) -> bool:
        return not (self.infra or self.missing or self.unlisted)

    def absent_shards(self) -> list[str]:
        """Return the shards that no run is of, where all runs agree how many there are."""
        shards = {part.shard for part in self.parts}
        counts = {shard.partition("/")[2] for shard in shards if shard}
        if len(counts) != 1 or not self.unlisted:
            return []
        [count] = counts
        return [name for index in range(1, int(count) + 1) if (name := f"{index}/{count}") not in shards]

    def shards_of(self, nodeids: Iterable[str]) -> list[str]:
        """Return the shards that list some of these tests."""
        wanted = frozenset(nodeids)
        found = {part.shard for part in self.parts if part.shard and not wanted.isdisjoint(part.expected)}
        return sorted(found, key=lambda shard: [int(number) for number in shard.split("/")][::-1])


def take_census(parts: Sequence[Part]) -> list[Census]:
    """Sort runs by agent, model and the tests they are cut from, and count each group."""
    groups: dict[tuple[Any, ...], list[Part]] = {}
    for part in parts:
        key = (*(part.manifest.get(name) for name in _CELL), part.selected)
        groups.setdefault(key, []).append(part)
    return [_count(tuple(group)) for group in groups.values()]


def attempts_in_order(parts: Iterable[Part]) -> dict[tuple[str, str], int]:
    """Number the sessions of each test in the order they started, by run and session: 1, 2 and so on."""
    by_test: dict[str, list[tuple[str, str]]] = {}
    for run, result in _in_order(parts):
        by_test.setdefault(result["nodeid"], []).append((run, result["session"]))
    return {session: number for sessions in by_test.values() for number, session in enumerate(sessions, 1)}


def _in_order(parts: Iterable[Part]) -> list[tuple[str, Mapping[str, Any]]]:
    """Sort the sessions of runs by the time they started; in one run attempts count, whatever its clock said."""
    keyed = []
    for part in parts:
        latest: dict[str, float] = {}
        for result in sorted(part.results, key=lambda r: r["attempt"]):
            started = latest[result["nodeid"]] = max(result["started_at"], latest.get(result["nodeid"], 0.0))
            keyed.append((started, part.run.id, result["attempt"], result))
    return [(run, result) for _, run, _, result in sorted(keyed, key=lambda key: key[:3])]


def _count(parts: tuple[Part, ...]) -> Census:
    last: dict[str, Mapping[str, Any]] = {}
    for _, result in _in_order(parts):
        last[result["nodeid"]] = result
    found: dict[str, list[str]] = {"done": [], "failed": [], "infra": [], "missing": []}
    expected = frozenset[str]().union(*(part.expected for part in parts))
    for nodeid in sorted(expected):
        found[_standing(last.get(nodeid))].append(nodeid)
    listed = frozenset[str]().union(*(part.planned for part in parts))
    first = parts[0]
    return Census(
        cell={name: first.manifest.get(name) for name in _CELL},
        parts=parts,
        selected=first.selected.sessions if first.selected else len(listed),
        skipped=len(listed - expected),
        **{name: tuple(nodeids) for name, nodeids in found.items()},
    )


def _standing(result: Mapping[str, Any] | None) -> str:
    verdict = result["verdict"] if result else None
    if verdict is None:
        return "missing"
    if result is not None and (verdict == "infra" or result.get("run_limit")):
        return "infra"
    return "done" if verdict in GOOD_VERDICTS else "failed"
