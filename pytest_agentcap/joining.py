"""Runs that sessions are added to: which agent and model goes where, and what stands there already."""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_agentcap import __version__
from pytest_agentcap.pins import IDENTITY, Pins, differences
from pytest_agentcap.runs.attempts import read_attempts, read_plan, stands
from pytest_agentcap.runs.layout import RunDirectory, find_runs, write_whole
from pytest_agentcap.runs.listing import find_run
from pytest_agentcap.runs.manifest import read_manifest
from pytest_agentcap.runs.pairs import finish_journals
from pytest_agentcap.runs.recovery import Hold, close_results

_FILE = "joined.json"
_NOT_REPEATED = frozenset({"--api-key", "--into", "--resume", "--force"})
# What run.json has of the results, and gets from them again.
_DERIVED = ("tasks", "turns_per_task", "network", "corpora", "fixtures", "sampling")


class JoinError(Exception):
    """Say why sessions cannot be added to a run, and what to do."""


def repeatable(arguments: Sequence[str], secrets: Sequence[str]) -> tuple[str, ...]:
    """Return a command line without keys, and without what says which run to add to."""
    kept, value_follows = [], False
    for word in arguments:
        name = word.partition("=")[0].replace("--agentcap-", "--")
        if not value_follows and name not in _NOT_REPEATED and not any(secret in word for secret in secrets):
            kept.append(word)
        value_follows = not value_follows and name in _NOT_REPEATED and name != "--force" and "=" not in word
    return tuple(kept)


@dataclass(frozen=True, slots=True)
class Existing:
    """Hold a run that sessions are added to, its manifest, and in what it differs from what is asked for now."""

    run: RunDirectory
    facts: Mapping[str, Any]
    differences: Sequence[str] = ()

    def continued(self) -> dict[str, Any]:
        """Return the manifest's facts, with a note of when and how the run was taken up again."""
        again = {"at": int(time.time()), "agentcap_version": __version__, "differences": list(self.differences)}
        kept = {key: value for key, value in self.facts.items() if key not in _DERIVED}
        return {**kept, "continued": [*self.facts.get("continued", ()), again]}


def match_runs(
    option: str, named: Sequence[str], folder: Path, wanted: Mapping[str, Pins], *, force: bool
) -> dict[str, Existing]:
    """Find for each agent and model of a session the run that it goes to; those without one are left out.

    `wanted` holds the pins by run key. Candidates are the named runs, and those that the same pytest session made. A
    run goes to the cell of its agent, model, upstream and label, or of its agent and model; one run and one cell that
    are left over go together. Raises JoinError when a named run fits nowhere, or differs and nobody forces it.
    """
    asked = [_find(option, name, folder) for name in named]
    candidates = [*asked, *(each for each in _siblings(asked) if each.run not in {one.run for one in asked})]
    found: dict[str, Existing] = {}
    for names in (IDENTITY, IDENTITY[:2]):
        for key, pins in wanted.items():
            fitting = [each for each in candidates if key not in found and _agree(each.facts["pins"], pins, names)]
            if fitting:
                found[key] = min(fitting, key=lambda each: len(differences(each.facts["pins"], pins)))
                candidates.remove(found[key])
    left, homeless = [each for each in asked if each in candidates], [key for key in wanted if key not in found]
    if len(left) == len(homeless) == 1:
        found[homeless[0]] = left.pop()
    if left:
        pins = left[0].facts["pins"]
        raise JoinError(f"{option} {left[0].run.id}: it is of {pins.get('agent')} and {pins.get('model')}, not run now")
    matched = {
        key: Existing(one.run, one.facts, differences(one.facts["pins"], wanted[key])) for key, one in found.items()
    }
    for one in matched.values():
        if one.differences and not force:
            told = "; ".join(one.differences)
            raise JoinError(
                f"{option} {one.run.id}: it was made with something else: {told} (--force adds to it anyway)"
            )
    return matched


def _find(option: str, name: str, folder: Path) -> Existing:
    run = find_run(folder, name)
    if run is None:
        raise JoinError(f"{option} {name}: neither a run in {folder} nor a run directory; see: agentcap ls")
    try:
        facts = read_manifest(run)
    except ValueError as error:
        raise JoinError(f"{option} {name}: {error}") from error
    if "pins" not in facts:
        raise JoinError(f"{option} {name}: its run.json does not say what it was made with: start a new run")
    return Existing(run, facts)


def _siblings(runs: Sequence[Existing]) -> list[Existing]:
    """Return the runs that the pytest sessions of these runs made."""
    invocations = {(each.run.path.parent, each.facts.get("invocation")) for each in runs}
    found = []
    for folder in {folder for folder, _ in invocations}:
        for run in find_runs(folder):
            try:
                facts = read_manifest(run)
            except ValueError:
                # It was not asked for; `agentcap ls` tells of it.
                continue
            if "pins" in facts and (folder, facts.get("invocation")) in invocations:
                found.append(Existing(run, facts))
    return found


def _agree(there: Pins, here: Pins, names: Sequence[str]) -> bool:
    return all(there.get(name) == here.get(name) for name in names)


def invocation_of(joined: Mapping[str, Existing]) -> str:
    """Return what new runs of this session have in common with those that it goes on with."""
    return next((str(each.facts["invocation"]) for each in joined.values()), uuid.uuid4().hex)


def take(option: str, run: RunDirectory, secrets: tuple[str, ...]) -> Hold:
    """Have a run for this controller alone, and finish what the last one left in it.

    Raises JoinError when another controller is at work in it, OSError or ValueError when it cannot be finished.
    """
    hold = Hold.at_once(run)
    if hold is None:
        raise JoinError(f"{option} {run.id}: another pytest session is at work in it: wait for its end")
    try:
        for place in (run.captures, run.sessions, run.results):
            place.mkdir(exist_ok=True)
        finish_journals(run.captures, secrets)
        close_results(run)
    except BaseException:
        hold.release()
        raise
    return hold


@dataclass(frozen=True, slots=True)
class Standing:
    """Hold what workers need to know of the runs that sessions are added to: plain data, kept in one file.

    `deselected` are node ids whose sessions stand; `corpora` and `graders` the hashes of files that sessions were run
    with, by name. Where something else is forced there are none.
    """

    deselected: frozenset[str] = frozenset()
    corpora: Mapping[str, Sequence[str]] = field(default_factory=dict)
    graders: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, runs: Sequence[RunDirectory], *, deselect: bool, check: bool) -> Standing:
        """Read it from the results of runs. Raises ValueError naming a file that is no result."""
        results = [result for run in runs for result in read_attempts(run).values()]
        corpora: dict[str, list[str]] = {}
        graders: dict[str, list[str]] = {}
        for result in results if check else ():
            if result.get("corpus_hash"):
                corpora.setdefault(_file_of(result["source"]), []).append(result["corpus_hash"])
            for name, value in result.get("grader_hashes", {}).items():
                graders.setdefault(name, []).append(value)
        return cls(
            frozenset(str(result["nodeid"]) for result in results if deselect and stands(result)),
            {name: sorted(set(values)) for name, values in corpora.items()},
            {name: sorted(set(values)) for name, values in graders.items()},
        )

    def write(self, state: Path) -> None:
        """Leave it to the workers, in the folder of their owner."""
        document = {"deselected": sorted(self.deselected), "corpora": self.corpora, "graders": self.graders}
        write_whole(state / _FILE, json.dumps(document).encode())

    @classmethod
    def read(cls, state: Path) -> Standing:
        """Read what the controller left; nothing, when nothing is added to."""
        try:
            document = json.loads((state / _FILE).read_bytes())
        except FileNotFoundError:
            return cls()
        return cls(frozenset(document["deselected"]), document["corpora"], document["graders"])

    def changed_corpus(self, source: str, digest: str | None) -> str | None:
        """Say that a task's corpus file is not what it was, None when it is; `source` is `file:line`."""
        name = _file_of(source)
        known = self.corpora.get(name)
        if not known or digest in known:
            return None
        return f"{name}: its content has changed since the run was made (--force adds to it anyway)"

    def changed_grader(self, hashes: Mapping[str, str]) -> str | None:
        """Say which grader is not what it was, None when all are."""
        for name, value in hashes.items():
            if self.graders.get(name) and value not in self.graders[name]:
                return f"grader {name}: it has changed since the run was made (--force adds to it anyway)"
        return None


def _file_of(source: str) -> str:
    return source.rpartition(":")[0]


def describe_run(option: str, existing: Existing) -> list[str]:
    """Say in the header what stands in a run, and what differs there."""
    latest = read_attempts(existing.run)
    counts = Counter(
        "stand" if stands(result) else "infra" if result["verdict"] == "infra" else "unfinished"
        for result in latest.values()
    )
    missing = len(read_plan(existing.run) - latest.keys() - frozenset(existing.facts.get("skipped") or ()))
    told = [f"{counts['stand']} sessions stand" + (" and are deselected" if option == "--resume" else "")]
    told += [f"{counts[name]} {name}" for name in ("infra", "unfinished") if counts[name]]
    told += [f"{missing} not begun"] if missing else []
    lines = [f"agentcap: {option[2:]} {existing.run.id}: {', '.join(told)}"]
    return lines + [f"agentcap: forced in {existing.run.id}: {line}" for line in existing.differences]
