"""From what is named to the page's bytes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pytest_agentcap.conversation.sources import Faults
from pytest_agentcap.text import printable
from pytest_agentcap.view.page import RunOfPage, write_page
from pytest_agentcap.view.source import Source, find_sources, pack_sessions


@dataclass(frozen=True, slots=True)
class Page:
    """Hold a page, and what it was made of; `raw_bytes` is the length of all bodies in it."""

    html: bytes
    runs: int
    sessions: int
    calls: int
    raw_bytes: int
    faults: tuple[str, ...]


def build_page(targets: Iterable[str]) -> Page:
    """Read what the targets name and make one page of it.

    Raises TargetError, ValueError or OSError when a target names nothing or cannot be read at all.
    """
    faults = Faults()
    # A run that two targets name is shown once.
    sources = list({source.place: source for target in targets for source in find_sources(target, faults)}.values())
    runs = [RunOfPage(source.name, source.facts, list(pack_sessions(source, faults))) for source in sources]
    sessions = [session for run in runs for session in run.sessions]
    if not sessions:
        raise ValueError(f"{', '.join(_names(sources))}: no sessions to show{_why(faults)}")
    return Page(
        html=b"".join(write_page(printable(_title(sources)), runs, faults.lines)),
        runs=len(runs),
        sessions=len(sessions),
        calls=sum(session.facts["calls"] for session in sessions),
        raw_bytes=sum(session.raw_bytes for session in sessions),
        faults=tuple(faults.lines),
    )


def _names(sources: list[Source]) -> list[str]:
    return [source.name for source in sources]


def _title(sources: list[Source]) -> str:
    first, *others = _names(sources)
    return f"{first} and {len(others)} more" if others else first


def _why(faults: Faults) -> str:
    return f": {faults.lines[0]}" if faults.lines else ""
