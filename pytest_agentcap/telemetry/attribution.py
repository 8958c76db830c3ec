"""Which processes belong to which tool call, and what they used together.

A tool call's processes are its roots and all their descendants. A root is a process that started in the tool call's
window and whose parent was there before: the agent. Of several tool calls that a root may belong to, it is that one
whose command stands in its words; else the roots go to the tool calls of the last window in their order. What starts
outside of every window is the agent's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pytest_agentcap.conversation.values import parse
from pytest_agentcap.telemetry.model import Quality, Resources, Source, ToolSpan
from pytest_agentcap.telemetry.processes import Process

# An agent may start a tool when the last event of an answer has come, before the stream has ended.
_EARLY_NS = 50_000_000
_SHORTEST_MATCH, _LONGEST_MATCH = 2, 1000
_NAME_BYTES = 15
# What agents call the command; beside it may stand a longer description of it.
_COMMANDS = ("command", "cmd", "script", "code")
_LEFT_OUT = re.compile(r"[\s'\"\\]+")
_SUMMED = (
    "storage_read_bytes",
    "storage_write_bytes",
    "syscall_read_bytes",
    "syscall_write_bytes",
)


@dataclass(slots=True)
class _Owned:
    """The processes of one span; `sure` is False when a root was only guessed to be its."""

    processes: list[Process] = field(default_factory=list)
    root: Process | None = None
    sure: bool = True


@dataclass(frozen=True, slots=True)
class Started:
    """Name a program that ran below a tool call, and the call whose answer asked for that.

    `name` is that of its file, at most 15 bytes of it; `words` are none when they could not be read in time.
    """

    request_id: str
    name: str
    words: tuple[str, ...] = ()


def started_by(spans: Iterable[ToolSpan], processes: Sequence[Process], epoch_ns: int) -> Iterator[Started]:
    """Yield the programs that ran in the shell of a tool call, or below the process that has its command for words.

    Other processes of a window may be the agent's own, and are left out.
    """
    spans = tuple(spans)
    owned = _assign(spans, processes, epoch_ns)
    for span in spans:
        below: set[int] = set()
        for process in owned[span.span_id].processes:
            if process.parent in below or process.runs_commands or process is owned[span.span_id].root:
                below.add(process.pid)
                words = tuple((process.argv or "").split("\0"))
                known = words[0].rpartition("/")[2]
                name = process.name or known
                # The words of a program that ended soon are still those of the one that started it.
                yield Started(span.request_id, name, words if known[:_NAME_BYTES] == name else ())


def attribute(
    spans: Iterable[ToolSpan], processes: Sequence[Process], source: Source, epoch_ns: int, quality: Quality = "exact"
) -> tuple[ToolSpan, ...]:
    """Put to each span what its processes used.

    `epoch_ns` is the epoch's time at 0 of the clock that processes are timed by; `quality` is that of the source.
    A span without an end may have had no processes, or any: it has resources only when a process was found.
    """
    spans = tuple(spans)
    owned = _assign(spans, processes, epoch_ns)
    return tuple(_with_resources(span, owned[span.span_id], source, quality, epoch_ns) for span in spans)


def started_since(processes: Sequence[Process], at_ns: int) -> tuple[Process, ...]:
    """Leave out what was there before an agent, and what that started: a sandbox's own, its relay to the proxy."""
    others: set[int] = set()
    found: list[Process] = []
    for process in processes:
        if process.started_ns < at_ns or process.parent in others:
            others.add(process.pid)
        else:
            others.discard(process.pid)
            found.append(process)
    return tuple(found)


def _assign(spans: Sequence[ToolSpan], processes: Sequence[Process], epoch_ns: int) -> dict[str, _Owned]:
    owned = {span.span_id: _Owned() for span in spans}
    owners: dict[int, str] = {}
    alive: dict[int, Process] = {}
    children = _children(processes)
    for process in processes:
        # Numbers are used again: whose child a process is, is told by who had the number when it started.
        owner = owners.get(id(parent)) if process.parent and (parent := alive.get(process.parent)) else None
        alive[process.pid] = process
        if owner is None:
            started = process.started_ns + epoch_ns
            within = [span for span in spans if _in_window(span, started, 0)]
            possible = within or [span for span in spans if _in_window(span, started, _EARLY_NS)]
            owner = _choose(possible, process, children, owned) if possible else None
        if owner is not None:
            owners[id(process)] = owner
            owned[owner].processes.append(process)
    return owned


def _children(processes: Sequence[Process]) -> Mapping[int, list[Process]]:
    children: dict[int, list[Process]] = {}
    for process in processes:
        if process.parent:
            children.setdefault(process.parent, []).append(process)
    return children


def _in_window(span: ToolSpan, at_ns: int, early_ns: int) -> bool:
    start, end = span.window_start_ns, span.window_end_ns
    if start is None or (end is not None and at_ns > end):
        return False
    # An agent itself may have started shortly before an answer that came at once.
    return at_ns >= (start if early_ns == 0 else max(start - early_ns, span.answered_ns or 0))


def _choose(
    possible: Sequence[ToolSpan],
    root: Process,
    children: Mapping[int, list[Process]],
    owned: Mapping[str, _Owned],
) -> str:
    words = [root.argv, root.earlier, *(child.argv for child in children.get(root.pid, ()))]
    told = [_bare(text) for text in words if text]
    commands = {span.span_id: command for span in possible if (command := _command_of(span))}
    matching = [name for name, command in commands.items() if any(command in text for text in told)]
    if matching:
        # `ls` stands in `ls -l` as well; and two tool calls may run the same command.
        longest = max(len(commands[name]) for name in matching)
        closest = [name for name in matching if len(commands[name]) == longest]
        chosen = next((name for name in closest if owned[name].root is None), closest[0])
        owned[chosen].root = owned[chosen].root or root
        return chosen
    # The window of a tool call that starts a sub-agent holds those of that agent's own.
    latest = max(span.window_start_ns or 0 for span in possible)
    inner = [span for span in possible if (span.window_start_ns or 0) == latest]
    idle = [span for span in inner if not owned[span.span_id].processes]
    chosen = (idle[0] if idle else inner[-1]).span_id
    owned[chosen].sure &= len(possible) == 1
    return chosen


def _command_of(span: ToolSpan) -> str | None:
    """Return a tool call's command, or the longest text of its arguments, without what is quoted in many ways."""
    arguments = parse(span.arguments)
    given = arguments if isinstance(arguments, dict) else {"command": span.arguments}
    texts = {name: _bare(" ".join(v) if isinstance(v, list) else v) for name, v in given.items() if _is_text(v)}
    named = next((texts[name] for name in _COMMANDS if texts.get(name)), None)
    found = named or max(texts.values(), key=len, default="")
    return found[:_LONGEST_MATCH] if len(found) >= _SHORTEST_MATCH else None


def _is_text(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(item, str) for item in value))


def _bare(text: str) -> str:
    return _LEFT_OUT.sub("", text.replace("\0", " "))


def _with_resources(span: ToolSpan, owned: _Owned, source: Source, quality: Quality, epoch_ns: int) -> ToolSpan:
    found = owned.processes
    if not found:
        known = span.window_end_ns is not None
        # No process was there: a tool that the agent runs within itself, whose own use is not told apart.
        return replace(span, resources=Resources(source, "none", processes=0)) if known else span
    end = span.window_end_ns
    used = replace(
        total(found, source, quality if owned.sure else "window"),
        survivors=None if end is None else sum(_outlives(process, end - epoch_ns) for process in found),
    )
    first = min(process.started_ns for process in found) + epoch_ns
    ends = [process.ended_ns + epoch_ns for process in found if process.ended_ns is not None]
    last = max(ends) if len(ends) == len(found) else None
    last = end if last is None else last if end is None else min(last, end)
    used = _timed(used, span, first, last)
    root, code = owned.root, owned.root.exit_code if owned.root else None
    if root is not None and code is not None and not _outlives(root, (end or 0) - epoch_ns if end else 1 << 63):
        span = replace(span, exit_code=code, exit_code_source="process")
    timed = replace(span, started_at_ns=first, ended_at_ns=last, timing="process") if last is not None else span
    return replace(timed, background=bool(used.survivors) if used.survivors is not None else None, resources=used)


def _timed(used: Resources, span: ToolSpan, first: int, last: int | None) -> Resources:
    start, end = span.window_start_ns, span.window_end_ns
    if last is None:
        return used
    wall = (last - first) / 1e9
    idle = None if start is None or end is None or span.timing == "shared" else (end - start) / 1e9 - wall
    return replace(used, wall_s=round(wall, 6), idle_s=None if idle is None else round(max(0.0, idle), 6))


def _outlives(process: Process, end_ns: int) -> bool:
    return process.ended_ns is None or process.ended_ns > end_ns


def total(processes: Sequence[Process], source: Source, quality: Quality) -> Resources:
    """Add up what processes used; a figure that no process has is None."""
    peaks = [process.peak_rss_bytes for process in processes if process.peak_rss_bytes is not None]
    return Resources(
        source,
        quality,
        user_s=_seconds(process.user_ns for process in processes),
        system_s=_seconds(process.system_ns for process in processes),
        peak_rss_bytes=max(peaks, default=None),
        processes=len(processes),
        **{name: _sum(getattr(process, name) for process in processes) for name in _SUMMED},
    )


def _seconds(values: Iterable[int | None]) -> float | None:
    found = _sum(values)
    return None if found is None else found / 1e9


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
