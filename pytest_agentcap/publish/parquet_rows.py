"""Captures parquets as files of their own, agentcap's included: their texts to scan, and a copy to publish."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pytest_agentcap.publish.redact import redact_text
from pytest_agentcap.publish.scan import Document
from pytest_agentcap.publish.summary import SUMMARY_KEY, summary_of
from pytest_agentcap.runs.masking import Mask

_BATCH_ROWS = 256
_BODIES = ("request", "response")
# Apache Arrow's own, made anew with the copy.
_ARROW_SCHEMA = b"ARROW:schema"


def parquet_documents(path: Path) -> Iterator[Document]:
    """Yield the texts of a captures parquet: both bodies of each row, its other columns, and the footer."""
    with pq.ParquetFile(path) as file:
        footer = {k.decode("utf-8", "replace"): v.decode("utf-8", "replace") for k, v in _footer(file).items()}
        yield Document(path.name, None, json.dumps(footer).encode())
        for batch in file.iter_batches(batch_size=_BATCH_ROWS):
            for row in batch.to_pylist():
                yield from _row_documents(path.name, row)


def _row_documents(name: str, row: Mapping[str, Any]) -> Iterator[Document]:
    rid = row.get("request_id")
    for column in _BODIES:
        if isinstance(text := row.get(column), str):
            yield Document(f"{name} {column}", rid, text.encode("utf-8", "surrogatepass"))
    rest = {key: value for key, value in row.items() if key not in _BODIES and isinstance(value, str)}
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


def copy_parquet(path: Path, into: Path, redact: Mask, scan: Mapping[str, Any] | None) -> int:
    """Copy a captures parquet, secrets replaced, its footer telling of the scan; return the number of replacements.

    Columns, rows and their order stay. Memory stays at 256 rows.
    """
    found = 0
    with pq.ParquetFile(path) as file:
        summary = {**summary_of(file.metadata), "scan": None if scan is None else dict(scan)}
        with pq.ParquetWriter(into, file.schema_arrow, compression="zstd", write_page_index=True) as writer:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                if redact.replacements:
                    batch, hits = _redacted(batch, redact)
                    found += hits
                writer.write_batch(batch)
            if found:
                summary["redacted"] = (summary.get("redacted") or 0) + found
            told = {key: redact.apply(value)[0] for key, value in _footer(file).items()}
            writer.add_key_value_metadata({**told, SUMMARY_KEY.encode(): json.dumps(summary).encode()})
    return found


def _footer(file: pq.ParquetFile) -> dict[bytes, bytes]:
    return {key: value for key, value in (file.metadata.metadata or {}).items() if key != _ARROW_SCHEMA}


def _redacted(batch: pa.RecordBatch, redact: Mask) -> tuple[pa.RecordBatch, int]:
    found = 0
    columns = []
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if name != "request_id" and (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            values = []
            for text in column.to_pylist():
                data, hits = (None, 0) if text is None else redact_text(redact, text.encode("utf-8", "surrogatepass"))
                values.append(None if data is None else data.decode("utf-8", "surrogatepass"))
                found += hits
            column = pa.array(values, column.type)
        columns.append(column)
    return pa.record_batch(columns, schema=batch.schema), found
