"""The scan of a run, kept beside it in `scan.json` for as long as it is of the same content."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytest_agentcap.publish.scan import Document, Hit, Scan, scan_documents
from pytest_agentcap.publish.scanners import Scanner
from pytest_agentcap.runs.layout import RunDirectory, write_whole

_FOLDERS = ("captures", "traces", "sessions", "results")
_RID_CHARS = 32


def scan_run(
    run: RunDirectory,
    scanner: Scanner,
    *,
    verify: bool = True,
    config: Path | None = None,
    rescan: bool = False,
    with_secrets: bool = False,
) -> Scan:
    """Scan a run's captures, traces, outputs and results, or say what a scan of the same content said.

    A scan that did not verify cannot stand for one that does; nor can one that could not find out of some secret
    whether it works. `with_secrets` wants the secrets themselves, which are not kept. Raises ScanError and OSError.
    """
    digest = content_digest(run, config)
    known = None if rescan else _read(run.scan, digest)
    if known and _serves(known, verify, with_secrets):
        return known
    scan = scan_documents(run_documents(run), scanner, verify=verify, config=config)
    write_whole(run.scan, json.dumps(_record(scan, digest), indent=2).encode() + b"\n", 0o600)
    return scan


def run_documents(run: RunDirectory) -> Iterator[Document]:
    """Yield what of a run is published, and what its sessions printed."""
    for path in _files(run):
        rid = path.name.partition(".")[0]
        of_call = path.parent == run.captures and len(rid) == _RID_CHARS
        yield Document(path.relative_to(run.path).as_posix(), rid if of_call else None, path.read_bytes())


def content_digest(run: RunDirectory, config: Path | None) -> str:
    """Return the SHA-256 of all that a scan of the run depends on: names, contents, and the scanner's configuration."""
    digest = hashlib.sha256()
    for path in (*_files(run), *([config] if config else [])):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.name if path == config else path.relative_to(run.path)}\0{content}\n".encode())
    return digest.hexdigest()


def _files(run: RunDirectory) -> Iterator[Path]:
    """Yield the files to scan, in order; `scan.json` is none of them."""
    if run.manifest.is_file():
        yield run.manifest
    for name in _FOLDERS:
        yield from sorted(path for path in (run.path / name).rglob("*") if path.is_file() and not path.is_symlink())


def _serves(known: Scan, verify: bool, with_secrets: bool) -> bool:
    if verify and (not known.verify or any(hit.undecided for hit in known.hits)):
        return False
    return not (with_secrets and known.hits)


def _record(scan: Scan, digest: str) -> dict[str, Any]:
    return {
        "scanned_at": int(time.time()),
        "no_verification": not scan.verify,
        "bytes_scanned": scan.bytes,
        "chunks_scanned": scan.chunks,
        "verified": [_hit_record(hit) for hit in scan.verified],
        "unverified": [_hit_record(hit) for hit in scan.unverified],
        "scanner": scan.scanner,
        "version": scan.version,
        "digest": digest,
    }


def _hit_record(hit: Hit) -> dict[str, Any]:
    return {
        "detector": hit.detector,
        "file": hit.file,
        "verified": hit.verified,
        "raw": hit.raw,
        "request_id": hit.rid,
        "undecided": hit.undecided,
    }


def _read(path: Path, digest: str) -> Scan | None:
    """Read a scan of this very content; None for any other, and for what is no record of a scan."""
    try:
        record = json.loads(path.read_bytes())
        if record["digest"] != digest:
            return None
        hits = tuple(
            Hit(
                str(hit["detector"]),
                str(hit["file"]),
                hit["request_id"],
                hit["verified"] is True,
                str(hit["raw"]),
                hit["undecided"] is True,
            )
            for hit in (*record["verified"], *record["unverified"])
        )
        return Scan(
            str(record["scanner"]),
            str(record["version"]),
            record["no_verification"] is False,
            hits,
            int(record["bytes_scanned"]),
            int(record["chunks_scanned"]),
        )
    except (OSError, ValueError, LookupError, TypeError):
        return None
