"""The lists that are walked through: runs or files, their calls, a call's messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from pytest_agentcap.conversation.files import CapturesFile
from pytest_agentcap.conversation.model import Call
from pytest_agentcap.conversation.read import read_call
from pytest_agentcap.inspect.calls import CallList, CallRow
from pytest_agentcap.inspect.footer import Footer, read_footer
from pytest_agentcap.inspect.messages import MessageRow, rows_of
from pytest_agentcap.inspect.query import highlight
from pytest_agentcap.inspect.render import facts_of, preview_call, preview_text
from pytest_agentcap.inspect.source import CallSource, ParquetSource, RunSource, Unreadable
from pytest_agentcap.inspect.summary import one_line, searchable, summarize
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.listing import RunSummary
from pytest_agentcap.runs.manifest import read_manifest

# Wider than any list: what is behind is searched and never seen.
_VISIBLE_COLUMNS = 500
_REVERSE, _END = "\x1b[7m", "\x1b[0m"
_FOOTERS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Printed:
    """End the walk with a text on standard output."""

    text: str


class Level(Protocol):
    """Be one list; rows are numbered from 0, in the order of `lines`."""

    @property
    def prompt(self) -> str: ...

    @property
    def header(self) -> str: ...

    def lines(self) -> Iterator[str]:
        """Yield one printable line for each row."""

    def preview(self, row: int, terms: Sequence[str]) -> str:
        """Return a row's preview. Raises ValueError or OSError when it cannot be made."""

    def open(self, row: int) -> Opened:
        """Return what Enter leads to, None where it leads nowhere; raises as `preview`."""


Opened: TypeAlias = "Level | Printed | None"


def hidden(line: str, text: str) -> str:
    """Put text behind a line where it is searched, and not shown."""
    return f"{line.ljust(_VISIBLE_COLUMNS)}{text}" if text else line


@dataclass(frozen=True, slots=True)
class RunLevel:
    """List the runs of a workspace."""

    runs: Sequence[RunSummary]
    picks_rid: bool = False
    prompt: str = "run"

    @property
    def header(self) -> str:
        return _columns(self._widths(), ("RUN_ID", "AGENT", "MODEL", "TASKS", "CAPTURES"))

    def lines(self) -> Iterator[str]:
        widths = self._widths()
        return (_columns(widths, self._cells(run)) for run in self.runs)

    def _widths(self) -> list[int]:
        cells = [self._cells(run) for run in self.runs]
        return [max([8, *map(len, column)]) for column in zip(*cells, strict=True)] or [8]

    def _cells(self, run: RunSummary) -> tuple[str, ...]:
        model = run.model and run.model.rpartition("/")[2]
        tasks = f"{run.tasks_ok}/{run.tasks}" + ("" if run.finished else "*")
        return tuple(one_line(text or "-") for text in (run.run_id, run.agent, model, tasks, str(run.captures)))

    def preview(self, row: int, terms: Sequence[str]) -> str:
        run = self.runs[row]
        facts = {"run": run.run_id, "agent": run.agent, "model": run.model, "provider": run.provider}
        facts |= {"upstream": run.upstream, "calls": str(run.captures), "fault": run.fault}
        lines = [f"{name:<10}{one_line(value)}" for name, value in facts.items() if value]
        if not run.fault:
            tasks = read_manifest(RunDirectory(run.path)).get("tasks")
            lines += ["", *(_task_line(task) for task in tasks if isinstance(task, dict))] if tasks else []
        return highlight("\n".join(lines), terms)

    def open(self, row: int) -> Opened:
        return RequestLevel(CallList(RunSource(RunDirectory(self.runs[row].path))), self.picks_rid)


def _task_line(task: dict[str, object]) -> str:
    words = (task.get(name) for name in ("verdict", "task_id", "prompt"))
    return one_line("  ".join("-" if word is None else str(word) for word in words), 300)


def _columns(widths: Sequence[int], cells: Sequence[str]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=False)).rstrip()


@dataclass(slots=True)
class FileLevel:
    """List captures parquets by what their footers tell; their rows are not read."""

    files: Sequence[CapturesFile]
    picks_rid: bool = False
    prompt: str = "file"
    header: str = "AGENT       MODEL                     TASKS    CAPS  FILE"
    _footers: dict[int, Footer] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        pool = ThreadPoolExecutor(_FOOTERS_AT_ONCE)
        unread = [row for row in range(len(self.files)) if row not in self._footers]
        coming: dict[int, Future[Footer]] = {row: pool.submit(read_footer, self.files[row]) for row in unread}
        try:
            for row in range(len(self.files)):
                footer = self._footers[row] = coming[row].result() if row in coming else self._footers[row]
                cells = (footer.agent, footer.model, footer.tasks, footer.calls)
                told = ("-" if cell is None else one_line(str(cell)) for cell in cells)
                line = "{:<10}  {:<24}  {:>5}  {:>6}  ".format(*told) + one_line(
                    self.files[row].name.rpartition("/")[2]
                )
                yield hidden(line, one_line(" ".join(footer.prompts)))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def preview(self, row: int, terms: Sequence[str]) -> str:
        footer = self._footers[row]
        facts: dict[str, object] = {
            "file": self.files[row].name,
            "run": footer.run_id,
            "agent": footer.agent,
            "model": footer.model,
        }
        facts |= {"calls": footer.calls, "groups": footer.row_groups, "fault": footer.fault}
        lines = [f"{name:<10}{one_line(str(value))}" for name, value in facts.items() if value is not None]
        return highlight("\n".join([*lines, "", *(one_line(prompt, 300) for prompt in footer.prompts)]), terms)

    def open(self, row: int) -> Opened:
        fault = self._footers[row].fault
        if fault:
            raise ValueError(f"{self.files[row].name}: {fault}")
        return RequestLevel(CallList(ParquetSource(self.files[row])), self.picks_rid)


@dataclass(frozen=True, slots=True)
class RequestLevel:
    """List the calls of a run or a file, each with what it told anew."""

    calls: CallList
    picks_rid: bool = False
    prompt: str = "request"
    header: str = "LOC      RID       MESSAGES"

    @property
    def source(self) -> CallSource:
        return self.calls.source

    def lines(self) -> Iterator[str]:
        return map(self._line, self.calls)

    def _line(self, row: CallRow | Unreadable) -> str:
        if isinstance(row, Unreadable):
            return f"{'-':<7}  {'-':<8}  (unreadable) {one_line(row.reason)}"
        status = row.call.status_code
        bad = f"[{status}] " if status is not None and status >= 400 else ""
        run = self._run_of(row)
        told = summarize(row.added) or one_line(row.call.record.text("path") or "")
        line = f"{row.location:<7}  {row.call.rid[:8]}  {run}{row.label} {bad}{told}"
        shown = f"{_REVERSE}{line}{_END}" if row.number == 1 else line
        return hidden(shown, f"{row.call.rid} {searchable(row.added)}")

    def _run_of(self, row: CallRow) -> str:
        """Name the run where a file may hold several."""
        run = row.call.record.text("run_id")
        return f"{one_line(run)}  " if run and isinstance(self.source, ParquetSource) else ""

    def preview(self, row: int, terms: Sequence[str]) -> str:
        found = self.calls.rows[row]
        return one_line(found.reason) if isinstance(found, Unreadable) else preview_call(found, terms)

    def open(self, row: int) -> Opened:
        found = self.calls.rows[row]
        if isinstance(found, Unreadable):
            return None
        if self.picks_rid:
            return Printed(found.call.rid)
        record = self.source.record(found.place)
        return MessageLevel(read_call(record), len(record.request))


class MessageLevel:
    """List the messages of a call and what was answered, tool calls in rows of their own."""

    prompt = "message"
    header = "  #   ROLE                  MESSAGE"

    def __init__(self, call: Call, request_bytes: int) -> None:
        self._call = call
        self._bytes = request_bytes
        self._rows: list[MessageRow] = list(rows_of(call))

    def lines(self) -> Iterator[str]:
        for row in self._rows:
            at = "    " if row.index is None else f"[{row.index:>2}]"
            yield hidden(f"{at}  {one_line(row.role, 40):<20}  {row.summary}", one_line(row.text))

    def preview(self, row: int, terms: Sequence[str]) -> str:
        return f"{facts_of(self._call, self._bytes)}\n\n{preview_text(self._rows[row].text, terms)}"

    def open(self, row: int) -> Opened:
        return Printed(self._rows[row].text)
