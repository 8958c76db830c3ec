"""The walk through lists: Enter goes in, Esc comes back to where it was."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import islice
from typing import IO

from pytest_agentcap.inspect.fzf import FzfError, Screen, count_matches, find_fzf, pick
from pytest_agentcap.inspect.levels import Level, Printed
from pytest_agentcap.inspect.preview import PreviewServer
from pytest_agentcap.inspect.query import terms_of
from pytest_agentcap.inspect.summary import one_line

_KEYS = "Enter in · Esc back · shift-↑↓ scroll · ctrl-/ preview"
NO_TERMINAL = (
    "inspect needs a terminal; without one, `agentcap ls` lists runs, `agentcap show RUN` their calls, and "
    "`agentcap show RID --messages` (or --request, --response, --raw, --json) prints a call"
)


@dataclass(slots=True)
class _Visit:
    """Remember where somebody is in a list."""

    level: Level
    query: str = ""
    position: int = 1
    note: str = ""


def browse(level: Level) -> str | None:
    """Walk until a row is printed, whose text is returned, or the first list is left with Esc: None.

    Raises FzfError where there is no terminal, or no fzf.
    """
    with _terminal() as terminal:
        program = find_fzf()
        visits = [_Visit(level)]
        while visits:
            printed = _visit(program, visits, terminal)
            if printed is not None:
                return printed
    return None


def _terminal() -> IO[bytes]:
    """Open the terminal, where fzf draws whatever standard output and error are."""
    try:
        terminal = open("/dev/tty", "wb", buffering=0)  # noqa: SIM115, PTH123
    except OSError:
        raise FzfError(NO_TERMINAL) from None
    if os.environ.get("TERM", "dumb") == "dumb":
        terminal.close()
        raise FzfError(NO_TERMINAL)
    return terminal


def _visit(program: str, visits: list[_Visit], terminal: IO[bytes]) -> str | None:
    """Show the list on top, and do what was asked for there; return what is to be printed."""
    visit = visits[-1]
    level = visit.level
    with PreviewServer(lambda row, query: _preview(level, row, query)) as previews:
        header = "\n".join(filter(None, [f"{_KEYS}", visit.note, level.header]))
        screen = Screen(level.prompt, header, previews.command, visit.query, visit.position)
        choice = pick(program, screen, level.lines(), terminal)
    if choice is None:
        visits.pop()
        return None
    visit.query, visit.note = choice.query, ""
    if choice.row is not None:
        return _open(program, visits, choice.row)
    return None


def _open(program: str, visits: list[_Visit], row: int) -> str | None:
    visit = visits[-1]
    visit.position = row + 1
    if visit.query:
        before = list(islice(visit.level.lines(), row + 1))
        visit.position = count_matches(program, visit.query, before)
    try:
        opened = visit.level.open(row)
    except (ValueError, OSError) as error:
        # A download that failed, a file that is gone: the list stays.
        visit.note = one_line(str(error), 300)
        return None
    if isinstance(opened, Printed):
        return opened.text
    if opened is not None:
        visits.append(_Visit(opened))
    return None


def _preview(level: Level, row: int, query: str) -> str:
    try:
        return level.preview(row, terms_of(query))
    except (ValueError, OSError) as error:
        return one_line(str(error))
