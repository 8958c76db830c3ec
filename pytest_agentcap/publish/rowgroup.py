"""The rows of the next row group, in memory that is used again for the one after it."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from pytest_agentcap.publish.schema import BODIES, SCHEMA


class _Texts:
    """Hold UTF-8 texts end to end, as Arrow lays a string column out.

    Fresh memory costs more than the copy: every page of it is a fault.
    """

    def __init__(self) -> None:
        self._data = bytearray(1 << 20)
        self._ends = array("i", [0])

    @property
    def size(self) -> int:
        return self._ends[-1]

    def add(self, text: bytes) -> None:
        start, end = self.size, self.size + len(text)
        if end > len(self._data):
            grown = bytearray(max(end, 2 * len(self._data)))
            grown[:start] = memoryview(self._data)[:start]
            self._data = grown
        # A slice of the bytearray itself would take a copy of the text first.
        memoryview(self._data)[start:end] = text
        self._ends.append(end)

    def column(self) -> pa.Array:
        """Return the texts without a copy; they change with the next `add` after `clear`."""
        return pa.StringArray.from_buffers(len(self._ends) - 1, pa.py_buffer(self._ends), pa.py_buffer(self._data))

    def clear(self) -> None:
        self._ends = array("i", [0])


@dataclass(slots=True)
class RowGroup:
    """Collect rows by column: bodies in memory of their own, everything else as it comes."""

    rows: list[Mapping[str, Any]] = field(default_factory=list)
    _bodies: dict[str, _Texts] = field(default_factory=lambda: {name: _Texts() for name in BODIES})

    @property
    def body_bytes(self) -> int:
        return sum(texts.size for texts in self._bodies.values())

    def add(self, values: Mapping[str, Any]) -> None:
        """Take a row; its bodies are UTF-8 bytes."""
        for name, texts in self._bodies.items():
            texts.add(values[name])
        self.rows.append({name: value for name, value in values.items() if name not in self._bodies})

    def take(self) -> pa.RecordBatch:
        """Return the rows and begin anew; the batch must be written before the next row comes."""
        columns = [
            self._bodies[column.name].column()
            if column.name in self._bodies
            else pa.array([values[column.name] for values in self.rows], column.type)
            for column in SCHEMA
        ]
        self.rows = []
        for texts in self._bodies.values():
            texts.clear()
        return pa.record_batch(columns, schema=SCHEMA)
