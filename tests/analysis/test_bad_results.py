"""Files that cannot be used: one line with the place, exit code 2, and nothing is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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


TIMING = {"timing": {"start": 0, "end": 1, "total": 1}}
PROMPT = {"id": "a", "input": "q", "reference": "r"}
EXTRACTED = {**PROMPT, "output": "o", "trajectory": [], "toolErrors": False, **TIMING}
RAW = {"id": "a", "input": "q", "rawLines": [], **TIMING}
TRIALS = {"id": "a", "input": "q", "k": 1, "trials": [{"trialNum": 1, "output": "o", "trajectory": [], "duration": 1}]}
ADAPTER = {
    "version": 1, "name": "a", "command": ["no-such-program"], "sessionMode": "stream", "prompt": {},
    "output": {"flag": "", "value": ""}, "result": {"matchPath": "$.a", "matchValue": "b", "contentPath": "$.c"},
}  # fmt: skip
# What each command reads, and its words; BAD stands for the file.
COMMANDS: dict[str, tuple[dict[str, Any] | None, str]] = {
    "summarize": (None, "summarize BAD"),
    "calibrate": (None, "calibrate BAD"),
    "labels": ({"id": "a", "pass": True}, "calibrate good.jsonl --labels BAD"),
    "format": (None, "format BAD"),
    "format as a table": (EXTRACTED, "format BAD -f csv"),
    "format trials": (TRIALS, "format BAD -f markdown"),
    "grade": (EXTRACTED, "grade BAD -g contains:o"),
    "extract": (RAW, "extract BAD -s adapter.json"),
    "compare": (None, "compare BAD good.jsonl"),
    "compare the second": (None, "compare good.jsonl BAD"),
    "compare trials": (TRIALS, "compare BAD trials.jsonl"),
    "validate-refs": (PROMPT, "validate-refs BAD -g contains:r"),
    "validate-refs --run": (PROMPT, "validate-refs BAD --run --sandbox host"),
    "balance": (PROMPT, "balance BAD"),
    "capture": (PROMPT, "capture BAD -s adapter.json"),
    "trials": (PROMPT, "trials BAD -s adapter.json"),
    "run": (PROMPT, "run BAD -s adapter.json"),
}
# Original rows have keys that are kept: grade and format; prompts have some that are told in a line.
TOLERANT = ("format", "grade", "validate", "balance", "capture", "trials", "run")


@pytest.fixture
def command(request, write_rows, good) -> tuple[dict[str, Any], list[str]]:
    """Return a good row of what a command reads, and its words with `bad.jsonl` in them."""
    Path("adapter.json").write_text(json.dumps(ADAPTER))
    write_rows("good.jsonl", good)
    write_rows("trials.jsonl", TRIALS)
    row, words = COMMANDS[request.param]
    return row or good, words.replace("BAD", "bad.jsonl").split()


@pytest.mark.parametrize("command", COMMANDS, indirect=True)
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{bad", "not valid JSON"),
        ('{"id": "b", "input": "q", "out', "or cut off"),
        ('{"id": "b", "id": "c"}', 'the key "id" stands twice'),
        ("[1]", "not a JSON object"),
        ('{"id": 7, "input": "q"}', "bad.jsonl:3: not a "),
        ('{"id": "b", "score": NaN}', "NaN is not a JSON number"),
        ('{"id": "b", "score": 1e999}', "too large"),
    ],
)
def test_a_bad_line_is_told_with_its_place(write_rows, capsys, command, line, said):
    row, words = command
    write_rows("bad.jsonl", row, "", line)
    told = refused(capsys, *words)
    assert "bad.jsonl:3: " in told
    assert said in told


@pytest.mark.parametrize("command", [name for name in COMMANDS if not name.startswith(TOLERANT)], indirect=True)
def test_an_unknown_field_is_told_with_its_place(write_rows, capsys, command):
    row, words = command
    write_rows("bad.jsonl", row, {**row, "id": "b", "outputs": 1})
    told = refused(capsys, *words)
    assert "bad.jsonl:2: not a " in told
    assert "unknown field `outputs`" in told


def test_a_prompt_with_an_unknown_field_is_told_and_counts(write_rows, capsys):
    assert main(["balance", write_rows("p.jsonl", PROMPT, {**PROMPT, "id": "b", "tags": 1})]) == 0
    told = capsys.readouterr()
    assert "p.jsonl:2: keys that nobody reads: tags" in told.err
    assert json.loads(told.out)["totalCases"] == 2


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


def test_a_folder_without_tasks_is_told_what_they_are_called(write_rows, capsys):
    Path("folder").mkdir()
    assert "folder: no task below it has a file of its own" in refused(capsys, "validate-refs", "folder")


def test_a_grader_that_is_not_there_is_told_before_anything_is_graded(write_rows, good, capsys):
    assert "nograder.py" in refused(capsys, "grade", write_rows("a.jsonl", good), "-g", "nograder.py")
