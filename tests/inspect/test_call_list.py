from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_agentcap.conversation.files import find_files
from pytest_agentcap.conversation.sources import Faults, read_run_directory
from pytest_agentcap.inspect.calls import CallList, CallRow
from pytest_agentcap.inspect.levels import MessageLevel, RequestLevel
from pytest_agentcap.inspect.source import ParquetSource, RunSource, Unreadable


def source_of(place):
    return RunSource(place) if hasattr(place, "captures") else ParquetSource(find_files(place)[0])


@pytest.fixture(params=["run", "parquet"])
def calls(request):
    return CallList(source_of(request.getfixturevalue(request.param)))


def test_calls_are_told_by_session_with_what_each_added(calls):
    rows = list(calls)
    assert [(row.location, row.label) for row in rows] == [
        ("1.1", "(init 2)"),
        ("1.2", "(+2)"),
        ("1.3", "(init 2)"),
        ("2.1", "(init 2)"),
    ]
    assert [message.role for message in rows[1].added] == ["assistant", "tool"]
    assert rows[1].prompt == "buy milk"
    assert rows[1].request_bytes > 0
    assert rows[0].call.record.request == b""


def test_labels_are_those_of_the_threads(run):
    labels = {row.call.rid: row.label for row in CallList(RunSource(run)) if isinstance(row, CallRow)}
    steps = [step for each in read_run_directory(run, Faults()) for thread in each.threads for step in thread.steps]
    assert labels == {step.call.rid: step.label for step in steps}


def test_a_shortened_history_tells_what_went(workspace, new_session):
    from pytest_agentcap.runs.layout import RunDirectory

    session = new_session()
    first, second, third = (session.user(text) for text in ("one", "two", "three"))
    session.call([session.SYSTEM, first, second], session.says("ok"))
    session.call([session.SYSTEM, first, third], session.says("ok"))
    run = RunDirectory(workspace / ".agentcap" / "r")
    session.save(run)
    row = list(CallList(RunSource(run)))[1]
    assert (row.label, row.kept, [message.text for message in row.removed]) == ("(-1 +1)", 2, ["two"])


def test_rows_that_were_read_are_not_read_again(run):
    calls = CallList(RunSource(run))
    first = next(iter(calls))
    assert len(calls.rows) == 1
    assert next(iter(calls)) is first
    assert len(list(calls)) == len(list(calls)) == 4


def test_a_call_is_read_again_whole(calls):
    for row in calls:
        record = calls.source.record(row.place)
        assert record.rid == row.call.rid
        assert len(record.request) == row.request_bytes


def test_broken_files_are_rows_that_lead_nowhere(run):
    (run.captures / ("d" * 32 + ".request.json")).write_text("{")
    (run.captures / ("e" * 32 + ".response.json")).write_text("{}")
    calls = CallList(RunSource(run))
    rows = list(calls)
    assert [type(row) for row in rows[-2:]] == [Unreadable, Unreadable]
    level = RequestLevel(calls)
    lines = list(level.lines())
    assert "dddd" in lines[-2]
    assert "not a capture file" in lines[-2]
    assert level.open(len(rows) - 1) is None
    assert "no request belongs" in level.preview(len(rows) - 1, ())


def test_a_file_that_is_no_captures_parquet_is_one_row(workspace):
    import pyarrow as pa
    import pyarrow.parquet as pq

    (workspace / "odd.parquet").write_text("nonsense")
    pq.write_table(pa.table({"x": [1]}), workspace / "other.parquet")
    for name, reason in (("odd", "not a parquet file"), ("other", "no column request_id")):
        (row,) = CallList(source_of(workspace / f"{name}.parquet"))
        assert isinstance(row, Unreadable)
        assert reason in row.reason


@pytest.mark.parametrize("place", ["agentcap_run", "agentcap_parquet"])
def test_what_agentcap_itself_captured_is_told_in_the_order_in_which_it_grew(request, place):
    level = RequestLevel(CallList(source_of(request.getfixturevalue(place))))
    lines = list(level.lines())
    assert [line.split("(")[1].split(")")[0] for line in lines] == ["init 1", "+2", "+2"]
    assert [line.split()[1].removesuffix("\x1b[0m") for line in lines] == ["ffffffff", "00000000", "aaaaaaaa"]
    preview = level.preview(0, ())
    assert "status \x1b[0m200" in preview if place == "agentcap_run" else "status \x1b[0m-" in preview
    assert "answer 0" in preview
    messages = level.open(2)
    assert isinstance(messages, MessageLevel)
    assert len(list(messages.lines())) == 6


def test_a_row_is_found_by_all_that_its_new_messages_say(run):
    lines = list(RequestLevel(CallList(RunSource(run))).lines())
    shown = lines[1].split("  " * 20)[0]
    assert shown.startswith("1.2      aaaa2000  (+2) assistant→bash: let me look · tool: eggs")
    assert "fridge" in lines[1]
    assert lines[0].startswith("\x1b[7m")
    assert not any("\t" in line or "\n" in line or "\x07" in line or "\x1b]" in line for line in lines)
    assert "[503]" in lines[3]


def test_calls_that_come_mixed_belong_to_their_sessions(run):
    """Two tests of one run have a task of the same name."""

    class Mixed(RunSource):
        def records(self):
            found = list(RunSource.records(self))[:2]
            for record, place in found:
                for name in ("one", "other"):
                    yield replace(record, facts={**record.facts, "session": name}), place

    assert [row.location for row in CallList(Mixed(run))] == ["1.1", "2.1", "1.2", "2.2"]
