"""Files that cannot be used: one line with the place, exit code 2, and nothing is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_agentcap.cli import main


def refused(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """Run a command that must fail, and return what it said, with an output file that must stay as it was."""
    Path("out").write_text("old")
    assert main([*args, "-o", "out"]) == 2
    assert Path("out").read_text() == "old"
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    return told.err


@pytest.fixture
def good(capture_of):
    return capture_of("a", 1.0)


@pytest.mark.parametrize("command", ["summarize", "calibrate", "format", "compare"])
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{bad", "not valid JSON"),
        ('{"id": "b", "input": "q", "out', "or cut off"),
        ('{"id": "b", "id": "c"}', 'the key "id" stands twice'),
        ("[1]", "not a JSON object"),
        ('{"id": 7, "input": "q"}', "Expected `str`"),
    ],
)
def test_a_bad_line_is_told_with_its_place(write_rows, good, capsys, command, line, said):
    name = write_rows("bad.jsonl", good, "", line)
    other = [write_rows("good.jsonl", good)] if command == "compare" else []
    told = refused(capsys, command, name, *other)
    assert "bad.jsonl:3: " in told
    assert said in told


@pytest.mark.parametrize("command", ["summarize", "calibrate"])
def test_an_unknown_field_is_told_with_its_place(write_rows, good, capsys, command):
    told = refused(capsys, command, write_rows("bad.jsonl", good, {**good, "outputs": 1}))
    assert "bad.jsonl:2: not a CaptureResult: Object contains unknown field `outputs`" in told


@pytest.mark.parametrize(
    ("score", "said"), [("NaN", "NaN is not a JSON number"), ("1.5", "<= 1.0"), ("1e999", "too large")]
)
def test_a_score_that_is_none_is_told_with_its_place(write_rows, good, capsys, score, said):
    line = json.dumps(good).replace('"score": 1.0', f'"score": {score}')
    told = refused(capsys, "compare", write_rows("bad.jsonl", line), write_rows("good.jsonl", good))
    assert "bad.jsonl:1: " in told
    assert said in told


def test_a_byte_that_is_no_utf_8_is_told_with_its_place(write_rows, good, capsys):
    name = write_rows("bad.jsonl", good)
    Path(name).write_bytes(Path(name).read_bytes() + b'{"id": "\xff"}\n')
    assert "bad.jsonl:2: not UTF-8 (byte 0xff)" in refused(capsys, "summarize", name)


def test_captures_and_trials_are_not_compared(write_rows, good, trials_of, capsys):
    told = refused(capsys, "compare", write_rows("a.jsonl", good), write_rows("b.jsonl", trials_of("a", True)))
    assert "a.jsonl holds CaptureResult rows, b.jsonl holds TrialResult rows" in told


def test_an_id_that_stands_twice_is_not_compared(write_rows, good, capsys):
    told = refused(capsys, "compare", write_rows("a.jsonl", good, good), write_rows("b.jsonl", good))
    assert "a.jsonl:2: the id 'a' stands twice, first at a.jsonl:1" in told


def test_two_runs_of_one_name_are_not_compared(write_rows, good, capsys):
    name = write_rows("a.jsonl", good)
    assert "two runs are called 'a'" in refused(capsys, "compare", name, name)


def test_runs_without_a_common_task_are_not_compared(write_rows, good, capture_of, capsys):
    told = refused(capsys, "compare", write_rows("a.jsonl", good), write_rows("b.jsonl", capture_of("z", 1.0)))
    assert "no task is in all of a, b" in told


def test_a_file_that_is_not_there_and_an_empty_one_are_told(write_rows, good, capsys):
    name = write_rows("a.jsonl", good)
    assert "nofile.jsonl: neither a file" in refused(capsys, "compare", name, "nofile.jsonl")
    assert "empty.jsonl: holds no result" in refused(capsys, "compare", name, write_rows("empty.jsonl"))


def test_a_grader_that_is_not_there_is_told_before_anything_is_graded(write_rows, good, capsys):
    assert "nograder.py" in refused(capsys, "grade", write_rows("a.jsonl", good), "-g", "nograder.py")
