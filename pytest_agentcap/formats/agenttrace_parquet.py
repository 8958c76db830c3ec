"""AgentTrace's normalized parquet: a row for each trace, its nested parts as JSON text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pytest_agentcap.formats.lines import json_line

_TEXT, _INT = pa.string(), pa.int64()
SCHEMA = pa.schema(
    [
        *((name, _TEXT) for name in ("trace_id", "timestamp_utc", "prompt", "model", "dataset_name")),
        ("task_id", _INT),
        ("run_id", _TEXT),
        ("total_duration_ms", pa.float64()),
        ("tool_span_count", _INT),
        ("llm_step_count", _INT),
        *((name, _TEXT) for name in ("spans_json", "llm_steps_json", "metadata_json", "raw_file")),
        *((name, _TEXT) for name in ("task", "session", "agent", "verdict")),
    ]
)
_BATCH_ROWS = 64


class RowsFile:
    """Collect rows of AgentTrace's JSONL as a parquet file in memory, compressed batch by batch.

    `raw_file` is the name of the JSONL. AgentTrace's `task_id` is a number: it is null for tasks that have another id,
    and `task` has every id as text.
    """

    def __init__(self, raw_file: str) -> None:
        self.count = 0
        self._raw_file = raw_file
        self._sink = pa.BufferOutputStream()
        self._writer = pq.ParquetWriter(self._sink, SCHEMA, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def add(self, row: Mapping[str, Any]) -> None:
        """Add one row as the JSONL has it."""
        self.count += 1
        self._rows.append(self._flat(row))
        if len(self._rows) == _BATCH_ROWS:
            self._write()

    def finish(self) -> bytes:
        """Return the whole file."""
        self._write()
        self._writer.close()
        data: bytes = self._sink.getvalue().to_pybytes()
        return data

    def _write(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=SCHEMA))
            self._rows.clear()

    def _flat(self, row: Mapping[str, Any]) -> dict[str, Any]:
        metadata = row["metadata"]
        task = metadata["task_id"]
        return {
            **{name: _text(row[name]) for name in ("trace_id", "timestamp_utc", "prompt", "model")},
            "dataset_name": _text(metadata["dataset_name"]),
            "task_id": int(task) if task and len(task) < 19 and task.isascii() and task.isdigit() else None,
            "run_id": _text(metadata["run_id"]),
            "total_duration_ms": row["total_duration_ms"],
            "tool_span_count": len(row["spans"]),
            "llm_step_count": len(row["llm_steps"]),
            "spans_json": _json(row["spans"]),
            "llm_steps_json": _json(row["llm_steps"]),
            "metadata_json": _json(metadata),
            "raw_file": self._raw_file,
            "task": _text(task),
            **{name: _text(metadata[name]) for name in ("session", "agent", "verdict")},
        }


def _json(value: Any) -> str:
    return json_line("", value).data.decode().removesuffix("\n")


def _text(value: str | None) -> str | None:
    # JSON may hold half a surrogate pair, UTF-8 may not.
    return None if value is None else value.encode("utf-8", "backslashreplace").decode()
