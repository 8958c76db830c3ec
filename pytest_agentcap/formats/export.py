"""Conversations from run directories and parquet files, written in one of the formats."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from pytest_agentcap.conversation.session import Conversation
from pytest_agentcap.conversation.sources import Faults, read_parquet, read_run_directory
from pytest_agentcap.formats.lines import ExportReport, write_lines
from pytest_agentcap.formats.redaction import Redaction
from pytest_agentcap.formats.registry import FORMATS
from pytest_agentcap.runs.layout import RunDirectory


def export_format(
    name: str,
    sources: Iterable[RunDirectory | Path],
    folder: Path,
    *,
    latest: bool = False,
    redaction: Redaction | None = None,
) -> ExportReport:
    """Write sources, run directories and captures parquets, into a folder, in a format of the registry.

    `latest` keeps the highest attempt of each task and trial; `redaction` replaces what is not to be told. Memory stays
    at one session (`dpo`: one task). Calls that cannot be read are told in the report's notes. Raises ValueError for a
    file that is no captures parquet.
    """
    faults = Faults()
    conversations = read_sources(sources, faults, latest=latest)
    if redaction:
        conversations = redaction.apply(conversations)
    report = write_lines(folder, FORMATS[name].load()(conversations))
    report.notes.extend(faults.lines)
    return report


def read_sources(
    sources: Iterable[RunDirectory | Path], faults: Faults, *, latest: bool = False
) -> Iterator[Conversation]:
    """Yield the conversations of several sources, one after another."""
    for source in sources:
        if isinstance(source, RunDirectory):
            yield from read_run_directory(source, faults, latest=latest)
        else:
            yield from read_parquet(source, faults, latest=latest)
