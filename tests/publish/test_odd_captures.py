"""Pair files that nobody should have written: each is exported, shown and told, or is one line, and stops nothing."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pytest_agentcap.cli import main
from pytest_agentcap.commands import show
from pytest_agentcap.formats.registry import FORMATS
from pytest_agentcap.inspect.calls import CallList
from pytest_agentcap.inspect.levels import MessageLevel, RequestLevel
from pytest_agentcap.inspect.source import RunSource
from pytest_agentcap.publish.card import captures_card
from pytest_agentcap.publish.destination import Destination
from pytest_agentcap.publish.parquet import write_parquet
from pytest_agentcap.publish.parquet_rows import convert_parquet
from pytest_agentcap.publish.summary import summary_of
from pytest_agentcap.runs.layout import RunDirectory

ODD = (
    *(None, True, 0, -1, 2**53 + 1, 2**63, -(10**30), 1.5, float("inf"), float("nan")),
    *("", "x", "\ud800", [], [[]], [2**70], [2**53 + 1], [True], ["x"], [None], {}, {"a": [1]}),
)
REQUEST = (
    *("captured_at", "upstream_url", "task_id", "turn", "session", "corpus", "trial", "attempt", "agent", "label"),
    *("call_index", "api", "method", "path", "query", "request_headers", "started_at_ns", "request_bytes", "redacted"),
    "body",
)
RESPONSE = (
    *("captured_at_resp", "stream", "status_code", "upstream_fingerprint", "response_headers", "first_byte_ms"),
    *("duration_ms", "chunk_ms", "chunk_bytes", "response_bytes", "complete", "error", "redacted", "body"),
)


@pytest.fixture
def run(workspace: Path, new_session: Any) -> RunDirectory:
    """A good session, and a call for each odd value, which all of its fields hold."""
    run = RunDirectory(workspace / ".agentcap" / "pi-local-20260101-000000")
    session = new_session("good")
    session.call([session.SYSTEM, session.user("go")], session.says("gone"), request_id="f" * 32)
    session.save(run)
    for number, value in enumerate(ODD):
        write_pair(run, f"{number:032x}", dict.fromkeys(REQUEST, value), dict.fromkeys(RESPONSE, value))
        raw = {**dict.fromkeys(RESPONSE, 1), "raw": value, "stream": True}
        write_pair(run, f"{100 + number:032x}", {"body": {"messages": value, "tools": value, "model": value}}, raw)
        told = [{"role": value, "content": value, "tool_calls": value}]
        answer = {"choices": [{"message": value, "delta": value, "finish_reason": value}], "usage": value}
        write_pair(run, f"{200 + number:032x}", {"body": {"messages": told, "model": "m"}}, {"body": answer})
    return run


def write_pair(run: RunDirectory, rid: str, request: dict[str, Any], response: dict[str, Any]) -> None:
    for name, fields in (("request", request), ("response", response)):
        (run.captures / f"{rid}.{name}.json").write_text(json.dumps({"request_id": rid, **fields}))


def test_every_call_is_a_row_of_the_parquet_and_the_card_is_made(run, tmp_path):
    report = write_parquet(run)
    assert report.rows + sum("request.json" in line for line in report.errors) == 1 + 3 * len(ODD)
    summary = summary_of(pq.read_metadata(report.path))
    assert summary["calls"] == report.rows
    assert "| column | type |" in captures_card(None, Destination("me", "demo"), {"a": summary}, None)
    assert convert_parquet(report.path, tmp_path / "again.parquet").rows == report.rows


def test_every_call_is_shown(run):
    level = RequestLevel(CallList(RunSource(run)))
    lines = list(level.lines())
    assert len(lines) >= 1 + 3 * len(ODD)
    for row in range(len(lines)):
        assert level.preview(row, ("x",))
        opened = level.open(row)
        if isinstance(opened, MessageLevel):
            for number, _ in enumerate(opened.lines()):
                assert opened.preview(number, ("x",))


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_written_from_run_and_parquet(run, capsys, name):
    write_parquet(run)
    for target, out in ((run.id, "one"), (str(run.parquet), "two")):
        assert main(["export", target, "--format", name, "-o", out]) in (0, 1)
        assert "records in" in capsys.readouterr().out


def test_the_commands_tell_them(run, capsysbinary):
    assert main(["ls"]) == 0
    assert main(["ls", "--json"]) == 0
    assert main(["show", run.id]) == 0
    assert main(["show", run.id, "--json"]) == 0
    # Making the parser of all commands for each call would take the most time.
    parser = ArgumentParser()
    show.add(parser.add_subparsers())
    for path in sorted(run.captures.glob("*.request.json")):
        rid = path.name[:32]
        for options in ((), ("--request",), ("--messages",), ("--messages", "--json"), ("--raw",), ("--json",)):
            args = parser.parse_args(["show", rid, *options])
            assert args.command(args) == 0, (rid, options)


def test_files_that_cannot_be_read_are_lines_and_the_rest_is_written(run, capsys):
    for path in (run.manifest, run.captures / f"{1:032x}.request.json", run.captures / f"{2:032x}.response.json"):
        path.unlink()
        path.mkdir()
    (run.results / "odd.json").mkdir()
    assert main(["export", run.id]) == 1
    told = capsys.readouterr()
    assert pq.read_metadata(run.parquet).num_rows == 3 * len(ODD)
    for name in ("run.json", f"{1:032x}.request.json", f"{2:032x}.response.json", "odd.json"):
        assert sum(f"{name}" in line for line in told.err.splitlines()) == 1
    assert "4 errors" in told.out
    assert main(["export", run.id, "--format", "sft", "-o", "out"]) == 1
    assert main(["ls"]) == 0
    assert "run.json" in capsys.readouterr().err
    assert main(["show", run.id]) == 0
    lines = list(RequestLevel(CallList(RunSource(run))).lines())
    assert sum("(unreadable)" in line for line in lines) == 1
