"""What a push publishes of each run, made in a folder of its own before anything is sent."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pytest_agentcap.conversation.session import Conversation
from pytest_agentcap.conversation.sources import Faults, read_parquet, read_run_directory
from pytest_agentcap.formats.lines import write_lines
from pytest_agentcap.formats.sts import lines as sts_lines
from pytest_agentcap.publish.parquet import write_parquet
from pytest_agentcap.publish.parquet_rows import copy_parquet
from pytest_agentcap.publish.summary import summary_of
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.manifest import read_manifest
from pytest_agentcap.runs.masking import Mask
from pytest_agentcap.runs.order import last_attempts, results_by_session

# The Hub's trace viewer knows these agents' own logs.
NATIVE_TRACES = frozenset({"claude", "codex", "pi"})
FROM_WIRE = "STS, from the wire"
_OF_FILE = ("run_id", "agent", "model", "provider")
_SLUG = re.compile(r"[^A-Za-z0-9._]+")
# What follows the time tells runs of the same second apart: an ordinal, a shard.
_STAMP = re.compile(r"(\d{8})-(\d{6})((?:-shard\d+of\d+-[0-9a-f]{6})?(?:-\d+)?)$")


@dataclass(frozen=True, slots=True)
class StagedRun:
    """Hold one run as it is published: its parquet, its traces by path in their repository, and what was left out.

    `run_id` names the run, or the file that holds it.
    """

    run_id: str
    agent: str
    parquet: Path
    name: str
    rows: int
    summary: Mapping[str, Any]
    traces: Mapping[str, Path]
    form: str
    notes: tuple[str, ...]

    def is_earlier(self, path: str) -> bool:
        """Tell whether a path is that of this run as it was when it held something else."""
        stem = self.name.rpartition("-")[0]
        other = re.fullmatch(rf"data/{re.escape(stem)}-[0-9a-f]{{6}}\.parquet", path)
        return other is not None and path != f"data/{self.name}"


def stage_run(
    run: RunDirectory,
    folder: Path,
    *,
    latest: bool,
    redact: Mask,
    scan: Mapping[str, Any] | None,
    progress: Callable[[int, int], None] | None = None,
) -> StagedRun:
    """Write what is published of a run into an empty folder; `scan` is what the card says of the secret scan.

    The parquet's name ends in six digits of its content's SHA-256: an unchanged run has the name it had before.
    """
    parquet = folder / "captures.parquet"
    report = write_parquet(run, parquet, latest=latest, redact=redact, scan=scan, progress=progress)
    manifest = read_manifest(run)
    agent = str(manifest.get("agent") or "unknown")
    traces, form, notes = _stage_traces(run, agent, folder / "traces", latest, redact)
    return StagedRun(
        run_id=run.id,
        agent=agent,
        parquet=parquet,
        name=_file_name(run.id, manifest, parquet),
        rows=report.rows,
        summary=summary_of(pq.read_metadata(parquet)),
        traces=traces,
        form=form,
        notes=(*report.errors, *notes),
    )


def stage_file(path: Path, folder: Path, *, latest: bool, redact: Mask, scan: Mapping[str, Any] | None) -> StagedRun:
    """Write a captures parquet into an empty folder as it is published, and traces made from its calls.

    Raises ValueError when the file is no captures parquet.
    """
    faults = Faults()
    traces = _made_traces(read_parquet(path, faults, latest=latest), folder / "traces", redact)
    parquet = folder / "captures.parquet"
    left_out = copy_parquet(path, parquet, redact, scan, latest=latest)
    facts = _facts_of_file(path)
    return StagedRun(
        run_id=str(facts["run_id"] or path.stem),
        agent=str(facts["agent"] or "unknown"),
        parquet=parquet,
        name=_file_name(str(facts["run_id"] or path.stem), facts, parquet),
        rows=pq.read_metadata(parquet).num_rows,
        summary=summary_of(pq.read_metadata(parquet)),
        traces=traces,
        form=FROM_WIRE,
        notes=(*faults.lines, *(f"{path}: its column {name} is not published" for name in left_out)),
    )


def _facts_of_file(path: Path) -> dict[str, Any]:
    """Tell whose calls a file holds: what its footer says, else its first row."""
    with pq.ParquetFile(path) as file:
        summary = summary_of(file.metadata)
        known = [name for name in _OF_FILE if name in file.schema_arrow.names]
        rows = (
            next(file.iter_batches(batch_size=1, columns=known)).to_pylist() if known and file.metadata.num_rows else []
        )
    return {name: summary.get(name) or (rows[0].get(name) if rows else None) for name in _OF_FILE}


def _file_name(run_id: str, manifest: Mapping[str, Any], parquet: Path) -> str:
    told = [str(manifest.get(key) or "unknown") for key in ("agent", "model", "provider")]
    told[1] = told[1].rpartition("/")[2]
    stamp = _STAMP.search(run_id)
    # A run of another name, such as agentcap's with a longer one, is told apart by its name.
    utc = f"{stamp[1]}T{stamp[2]}{stamp[3]}" if stamp else hashlib.sha256(run_id.encode()).hexdigest()[:15]
    with parquet.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return "-".join(["train", *(_SLUG.sub("-", text).strip("-") for text in told), utc, digest[:6]]) + ".parquet"


def _stage_traces(
    run: RunDirectory, agent: str, folder: Path, latest: bool, redact: Mask
) -> tuple[dict[str, Path], str, list[str]]:
    """Write the sessions' traces: the agent's own log where the Hub shows it, else one made from the calls."""
    native = dict(_native_files(run, latest)) if agent in NATIVE_TRACES else {}
    if native:
        for name, source in native.items():
            _write(folder / name, redact.apply(source.read_bytes())[0])
        return {f"data/{name}": folder / name for name in native}, f"{agent}'s own", []
    faults = Faults()
    return _made_traces(read_run_directory(run, faults, latest=latest), folder, redact), FROM_WIRE, faults.lines


def _made_traces(conversations: Iterable[Conversation], folder: Path, redact: Mask) -> dict[str, Path]:
    made = write_lines(folder, sts_lines(conversations))
    for path in made.files:
        _write(path, redact.apply(path.read_bytes())[0])
    return {f"data/{path.relative_to(folder).as_posix()}": path for path in made.files}


def _native_files(run: RunDirectory, latest: bool) -> Iterator[tuple[str, Path]]:
    """Yield the logs by `<run id>/<file>`; a session with several files has a folder of its own."""
    results, _ = results_by_session(run)
    if not results:
        # agentcap keeps the logs of all tasks side by side; a link is nothing that a scan has looked at.
        logs = sorted((run.path / "traces").glob("*.jsonl"))
        yield from ((f"{run.id}/{log.name}", log) for log in logs if log.is_file() and not log.is_symlink())
    kept = {str(r.get("session")) for r in last_attempts(results.values())} if latest else results.keys()
    for session in sorted(kept):
        files = sorted(run.trace(session).rglob("*.jsonl"))
        for file in files:
            name = (
                f"{session}.jsonl"
                if len(files) == 1
                else f"{session}/{file.relative_to(run.trace(session)).as_posix()}"
            )
            yield f"{run.id}/{name}", file


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
