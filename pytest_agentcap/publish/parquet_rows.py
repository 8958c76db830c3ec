"""Captures parquets as files of their own, agentcap's included: their texts to scan, and a copy to publish."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pytest_agentcap.conversation.files import open_captures
from pytest_agentcap.conversation.records import CallRecord, SessionKey
from pytest_agentcap.conversation.sources import facts_of_footer, last_sessions, session_keys
from pytest_agentcap.publish.parquet import ParquetReport, open_writer, write_footer, write_groups
from pytest_agentcap.publish.redact import redact_text
from pytest_agentcap.publish.rows import RunFacts
from pytest_agentcap.publish.scan import Document
from pytest_agentcap.publish.schema import BODIES, NAMES, fit
from pytest_agentcap.publish.summary import COUNTED, Summary, summary_of
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.masking import Mask

_BATCH_ROWS = 256
_COPIED_ROWS = 16
# Of other files, agentcap's for one, a column of all rows may be one piece.
_READ_BYTES = 1 << 20
# Apache Arrow's own, made anew with the copy.
_ARROW_SCHEMA = b"ARROW:schema"


def parquet_documents(path: Path) -> Iterator[Document]:
    """Yield the texts of a captures parquet: both bodies of each row, its other columns, and the footer."""
    with pq.ParquetFile(path) as file:
        yield Document(path.name, None, json.dumps(_footer(file)).encode())
        for batch in file.iter_batches(batch_size=_BATCH_ROWS):
            for row in batch.to_pylist():
                yield from _row_documents(path.name, row)


def _row_documents(name: str, row: Mapping[str, Any]) -> Iterator[Document]:
    rid = row.get("request_id")
    for column in sorted(BODIES):
        if isinstance(text := row.get(column), str):
            yield Document(f"{name} {column}", rid, text.encode("utf-8", "surrogatepass"))
    rest = {key: value for key, value in row.items() if key not in BODIES and isinstance(value, str)}
    yield Document(name, rid, json.dumps(rest).encode())


def parquet_providers(path: Path) -> set[str]:
    """Return the model servers that a captures parquet's rows name.

    Raises ValueError when the file is no captures parquet.
    """
    try:
        with pq.ParquetFile(path) as file:
            if "provider" not in file.schema_arrow.names:
                return set()
            return {name for name in file.read(columns=["provider"])["provider"].to_pylist() if name}
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: not a parquet file: {error}") from error


def copy_parquet(
    path: Path, into: Path, redact: Mask, scan: Mapping[str, Any] | None, *, latest: bool = False
) -> tuple[str, ...]:
    """Copy a captures parquet, secrets replaced, its footer telling of the scan; return the columns that are left out.

    The order of rows stays; `latest` leaves out sessions that were tried again later. Columns are those of every
    published file: what the source lacks is null, what no captures parquet has is left out. Memory stays at one row
    group. Raises ValueError for what is no captures parquet.
    """
    with open_captures(path, buffer_size=_READ_BYTES) as file, open_writer(into) as writer:
        summary = Summary(RunFacts(RunDirectory(path), {}, {}), scan)
        wanted = last_sessions(session_keys(file)) if latest else None
        write_groups(writer, _copies(file, wanted, redact, summary))
        facts = summary.facts()
        counted = {name: facts[name] for name in COUNTED}
        told = {key: redact.apply(value.encode())[0].decode() for key, value in _footer(file).items()}
        write_footer(writer, told, {**summary_of(file.metadata), **counted})
        return tuple(name for name in file.schema_arrow.names if name not in NAMES)


def convert_parquet(path: Path, into: Path, *, latest: bool = False) -> ParquetReport:
    """Write a captures parquet of any version, agentcap's own included, as this one writes them; raises as the copy."""
    scan = summary_of(open_captures(path).metadata).get("scan")
    left_out = copy_parquet(path, into, Mask(), scan, latest=latest)
    notes = tuple(f"{path}: its column {name} is left out" for name in left_out)
    return ParquetReport(into, pq.read_metadata(into).num_rows, (), into.stat().st_size, notes)


def _copies(
    file: Any, wanted: Callable[[SessionKey], bool] | None, redact: Mask, summary: Summary
) -> Iterator[Mapping[str, Any]]:
    told = facts_of_footer(file)
    for batch in file.iter_batches(batch_size=_COPIED_ROWS):
        for row in batch.to_pylist():
            if wanted is None or wanted(CallRecord(row, b"", None).session):
                values = _copied({**told, **row}, redact)
                summary.add(values)
                yield values


def _copied(row: Mapping[str, Any], redact: Mask) -> dict[str, Any]:
    """Return a row with the columns of every published file, secrets replaced and counted."""
    values: dict[str, Any] = {}
    found = 0
    for name in NAMES:
        value = row.get(name)
        if isinstance(value, str) and name != "request_id":
            data, hits = redact_text(redact, value.encode("utf-8", "surrogatepass"))
            value = data if name in BODIES else data.decode("utf-8", "surrogatepass")
            found += hits
        values[name] = (value or b"{}") if name in BODIES else fit(name, value)
    if "api" not in row:
        # agentcap recorded no other and did not say so.
        values["api"] = "chat"
    if found:
        values["redacted"] = (values["redacted"] or 0) + found
    return values


def _footer(file: pq.ParquetFile) -> dict[str, str]:
    footer = {key: value for key, value in (file.metadata.metadata or {}).items() if key != _ARROW_SCHEMA}
    return {key.decode("utf-8", "replace"): value.decode("utf-8", "replace") for key, value in footer.items()}
