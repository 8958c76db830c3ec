"""Where calls come from: a run directory or a captures parquet, one call after another in the order they were made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from pytest_agentcap.conversation.files import CapturesFile
from pytest_agentcap.conversation.records import CallRecord, record_of_capture, record_of_row
from pytest_agentcap.runs.captures import Capture, CaptureError
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.order import order_calls, results_by_session

# Written by this project, whose rows are in order already.
_ORDERED_KEY = b"agentcap_version"
_ORDER = (
    *("run_id", "corpus", "task_id", "trial", "attempt", "session", "call_index", "turn"),
    *("started_at_ns", "captured_at"),
)
_BATCH_ROWS = 16


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stand for a call, or for all that would follow, that cannot be read, and tell why."""

    reason: str


Found: TypeAlias = "tuple[CallRecord, Any] | Unreadable"


class CallSource(Protocol):
    """Give the calls of a list; a place is what the source itself finds a call by."""

    @property
    def name(self) -> str: ...

    def records(self) -> Iterator[Found]:
        """Yield each call with its place; the calls of one task, trial and attempt stand together."""

    def record(self, place: Any) -> CallRecord:
        """Read one call again. Raises ValueError or OSError when that fails."""


@dataclass(frozen=True, slots=True)
class RunSource:
    """Read a run directory; a place is a rid."""

    run: RunDirectory

    @property
    def name(self) -> str:
        return self.run.id

    def records(self) -> Iterator[Found]:
        order = order_calls(self.run, results_by_session(self.run)[0])
        for rid in order.rids:
            try:
                yield self.record(rid), rid
            except (CaptureError, OSError) as error:
                yield Unreadable(str(error))
        yield from map(Unreadable, order.errors)

    def record(self, place: str) -> CallRecord:
        return record_of_capture(Capture(place, self.run.captures), {"run_id": self.run.id})


@dataclass(slots=True)
class ParquetSource:
    """Read a captures parquet, agentcap's own included; a place is a row group and a row of it.

    Files of this project are read group by group. Others have their rows in any order: they are sorted by their narrow
    columns, and read as a whole. The last row group stays in memory: neighbours are looked at one after another.
    """

    file: CapturesFile
    _opened: Any = None
    _group: tuple[int, Any] = (-1, None)

    @property
    def name(self) -> str:
        return self.file.name.rpartition("/")[2]

    def records(self) -> Iterator[Found]:
        import pyarrow as pa

        try:
            file = self._parquet()
            ordered = _ORDERED_KEY in (file.metadata.metadata or {})
            for place, row in _in_order(file) if ordered else self._sorted(file):
                try:
                    yield record_of_row(row), place
                except ValueError as error:
                    yield Unreadable(f"{self.file.name}: row {place}: {error}")
        except (pa.ArrowException, ValueError, OSError, *self.file.raises) as error:
            yield Unreadable(f"{self.file.name}: {error}")

    def record(self, place: tuple[int, int]) -> CallRecord:
        group, row = place
        if self._group[0] != group:
            try:
                self._group = group, self._parquet().read_row_group(group)
            except self.file.raises as error:
                raise OSError(f"{self.file.name}: {error}") from error
        return record_of_row(_row(self._group[1], row))

    def _parquet(self) -> Any:
        """Open the file once. Raises ValueError naming it when it is no captures parquet."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self._opened is None:
            try:
                opened = pq.ParquetFile(self.file.open(), pre_buffer=True)
            except pa.ArrowException as error:
                raise ValueError(f"not a parquet file: {error}") from error
            missing = [name for name in ("request_id", "request", "response") if name not in opened.schema_arrow.names]
            if missing:
                raise ValueError(f"not a captures parquet: it has no column {missing[0]}")
            self._opened = opened
        return self._opened

    def _sorted(self, file: Any) -> Iterator[tuple[tuple[int, int], Mapping[str, Any]]]:
        known = [name for name in _ORDER if name in file.schema_arrow.names]
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        places = [(group, row) for group, size in enumerate(sizes) for row in range(size)]
        table = file.read()
        narrow = table.select(known).to_pylist() if known else [{}] * len(places)
        lengths = _lengths(table.column("request"))
        keys = [_order_key(row, length) for row, length in zip(narrow, lengths, strict=True)]
        for at in sorted(range(len(places)), key=keys.__getitem__):
            yield places[at], _row(table, at)


def _in_order(file: Any) -> Iterator[tuple[tuple[int, int], Mapping[str, Any]]]:
    for group in range(file.num_row_groups):
        number = 0
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, row_groups=[group]):
            for row in range(batch.num_rows):
                yield (group, number), _row(batch, row)
                number += 1


def _row(table: Any, at: int) -> Mapping[str, Any]:
    row: Mapping[str, Any] = table.slice(at, 1).to_pylist()[0]
    return row


def _lengths(column: Any) -> list[int]:
    import pyarrow.compute as pc

    lengths: list[int] = pc.fill_null(pc.binary_length(column), 0).to_pylist()
    return lengths


def _order_key(row: Mapping[str, Any], length: int) -> tuple[Any, ...]:
    record = CallRecord({**row, "request_id": ""}, b"", None)
    index, started, _ = record.order
    # agentcap knows whole seconds only; within one, a conversation grows.
    return (*record.session, index, record.integer("turn") or 0, started, length)
