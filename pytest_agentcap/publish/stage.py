"""What a push publishes of each run, made in a folder of its own before anything is sent."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pytest_agentcap.conversation.sources import Faults, read_run_directory
from pytest_agentcap.formats.lines import write_lines
from pytest_agentcap.formats.sts import lines as sts_lines
from pytest_agentcap.publish.parquet import write_parquet
from pytest_agentcap.publish.summary import summary_of
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.manifest import read_manifest
from pytest_agentcap.runs.masking import Mask
from pytest_agentcap.runs.order import last_attempts, results_by_session

# The Hub's trace viewer knows these agents' own logs.
NATIVE_TRACES = frozenset({"claude", "codex", "pi"})
_SLUG = re.compile(r"[^A-Za-z0-9._]+")
_STAMP = re.compile(r"(\d{8})-(\d{6})(?:-\d+)?$")


@dataclass(frozen=True, slots=True)
class StagedRun:
    """Hold one run as it is published: its parquet, its traces by path in their repository, and what was left out."""

    run: RunDirectory
    agent: str
    parquet: Path
    name: str
    rows: int
    summary: Mapping[str, Any]
    traces: Mapping[str, Path]
    form: str
    notes: tuple[str, ...]

    @property
    def earlier(self) -> str:
        """Return what the paths of all files of this run begin with, whatever it held when they were published."""
        return f"data/{self.name.rpartition('-')[0]}-"


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
        run=run,
        agent=agent,
        parquet=parquet,
        name=_file_name(run, manifest, parquet),
        rows=report.rows,
        summary=summary_of(pq.read_metadata(parquet)),
        traces=traces,
        form=form,
        notes=(*report.errors, *notes),
    )


def _file_name(run: RunDirectory, manifest: Mapping[str, Any], parquet: Path) -> str:
    told = [str(manifest.get(key) or "unknown") for key in ("agent", "model", "provider")]
    told[1] = told[1].rpartition("/")[2]
    stamp = _STAMP.search(run.id)
    # A run of another name, such as agentcap's with a longer one, is told apart by its name.
    utc = f"{stamp[1]}T{stamp[2]}" if stamp else hashlib.sha256(run.id.encode()).hexdigest()[:15]
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
    made = write_lines(folder, sts_lines(read_run_directory(run, faults, latest=latest)))
    for path in made.files:
        _write(path, redact.apply(path.read_bytes())[0])
    return (
        {f"data/{path.relative_to(folder).as_posix()}": path for path in made.files},
        "STS, from the wire",
        faults.lines,
    )


def _native_files(run: RunDirectory, latest: bool) -> Iterator[tuple[str, Path]]:
    """Yield the logs by `<run id>/<file>`; a session with several files has a folder of its own."""
    results, _ = results_by_session(run)
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
