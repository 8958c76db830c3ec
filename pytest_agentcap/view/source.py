"""Where sessions come from: run directories, with results and patches beside the captures, and captures parquets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_agentcap.conversation.files import HUB, CapturesFile, find_files, is_repository
from pytest_agentcap.conversation.records import SessionKey
from pytest_agentcap.conversation.sources import Faults
from pytest_agentcap.conversation.values import as_integer
from pytest_agentcap.inspect.source import CallSource, ParquetSource, RunSource, Unreadable
from pytest_agentcap.runs.layout import RunDirectory, find_runs, workspace_folder
from pytest_agentcap.runs.listing import TargetError, find_run
from pytest_agentcap.runs.manifest import read_manifest
from pytest_agentcap.runs.order import results_by_session
from pytest_agentcap.view.packed import PackedSession, SessionPacker

_OF_RUN = ("agent", "agent_version", "model", "provider", "upstream", "label", "sandbox", "network", "turns_per_task")
_NO_PATCH: Callable[[str], bytes | None] = lambda _: None  # noqa: E731


@dataclass(frozen=True, slots=True)
class Source:
    """Name calls and what is known beside them: facts of the run, results by session, and a session's patch.

    `place` tells sources of the same name apart.
    """

    name: str
    place: str
    calls: CallSource
    facts: Mapping[str, Any] = field(default_factory=dict)
    results: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    patch: Callable[[str], bytes | None] = _NO_PATCH


def find_sources(target: str, faults: Faults) -> list[Source]:
    """Return what a target names: a run, a parquet, `hf://…`, a workspace or folder with some, or `OWNER/NAME`.

    Raises TargetError, or ValueError, when there is none.
    """
    path = Path(target)
    if target.startswith(HUB) or (path.suffix == ".parquet" and path.is_file()):
        return [_of_file(file) for file in find_files(target)]
    run = find_run(workspace_folder(), target)
    if run:
        return [_of_run(run, faults)]
    if path.is_dir():
        runs = list(find_runs(workspace_folder(path)))
        return [_of_run(run, faults) for run in runs] or [_of_file(file) for file in find_files(path)]
    if is_repository(target):
        return [_of_file(file) for file in find_files(target)]
    raise TargetError(
        f"{target} is no run or workspace, no parquet file, and neither hf://datasets/OWNER/NAME nor OWNER/NAME"
    )


def _of_file(file: CapturesFile) -> Source:
    source = ParquetSource(file)
    return Source(source.name, file.name, source)


def _of_run(run: RunDirectory, faults: Faults) -> Source:
    results, broken = results_by_session(run)
    for line in broken:
        faults.add(line)
    try:
        manifest: Mapping[str, Any] = read_manifest(run)
    except ValueError as error:
        faults.add(str(error))
        manifest = {}

    def patch(session: str) -> bytes | None:
        path = run.patch(session)
        return path.read_bytes() if path.is_file() else None

    facts = {name: manifest[name] for name in _OF_RUN if manifest.get(name) is not None}
    return Source(run.id, str(run.path.resolve()), RunSource(run), facts, results, patch)


def pack_sessions(source: Source, faults: Faults) -> Iterator[PackedSession]:
    """Yield the sessions of a source in the order in which they begin, then those that made no call.

    All calls are read before the first one is told: calls of two sessions may come mixed.
    """
    packers: dict[SessionKey, SessionPacker] = {}
    for found in source.calls.records():
        if isinstance(found, Unreadable):
            faults.add(found.reason)
            continue
        record, _ = found
        packers.setdefault(record.session, SessionPacker(source.facts)).add(record)
    told: set[str] = set()
    for key, packer in packers.items():
        name = key[-1]
        told.add(name)
        yield packer.finish(source.results.get(name, {}), source.patch(name) if name else None)
    for name, result in sorted(source.results.items(), key=lambda item: _order(item[1])):
        if name not in told:
            yield SessionPacker(source.facts).finish(result, source.patch(name))


def _order(result: Mapping[str, Any]) -> tuple[str, int, str, int, int]:
    index, trial, attempt = (as_integer(result.get(name)) or 0 for name in ("index", "trial", "attempt"))
    return str(result.get("corpus")), index, str(result.get("task_id")), trial, attempt
