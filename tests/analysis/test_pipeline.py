"""`agentcap extract`, `grade`, `format`, `summarize` and `validate-refs`, one after another."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pytest_agentcap.cli import main
from pytest_agentcap.schemas import schema_of

SCHEMA = {
    "version": 1, "name": "fake", "command": ["fake"], "sessionMode": "stream",
    "prompt": {}, "output": {"flag": "", "value": ""},
    "outputEvents": [
        {"match": {"path": "$.type", "value": "text"}, "emitAs": "message", "extract": {"content": "$.text"}},
        {"match": {"path": "$.type", "value": "tool"}, "emitAs": "tool_call",
         "extract": {"title": "$.name", "status": "$.status"}},
    ],
    "result": {"matchPath": "$.type", "matchValue": "result", "contentPath": "$.result"},
}  # fmt: skip
GRADER = """
def grade(output, hint):
    if output == "boom":
        raise RuntimeError("cannot tell")
    passed = hint in output
    return {"pass": passed, "score": float(passed), "reasoning": "hint found" if passed else "no hint"}
"""


def raw(identity: str, *events: dict[str, Any] | str, **more: Any) -> dict[str, Any]:
    lines = [event if isinstance(event, str) else json.dumps(event) for event in events]
    return {
        "id": identity, "input": "q", "hint": "yes", "rawLines": lines, "timing": {"start": 0, "end": 9, "total": 9},
        **more,
    }  # fmt: skip


@pytest.fixture
def rows(write_rows):
    Path("schema.json").write_text(json.dumps(SCHEMA))
    Path("grader.py").write_text(GRADER)
    text = {"type": "text", "text": "yes it is"}
    return write_rows(
        "raw.jsonl",
        raw("messages", text, {"type": "tool", "name": "Read", "status": "failed"}, "notice"),
        raw(
            "turns",
            {"type": "result", "result": "first"},
            text,
            {"type": "result", "result": "no"},
            arrivals=[1, 2.5, 3],
        ),
        raw("crash", {"type": "result", "result": "boom"}, error="killed"),
    )


def read(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(name).read_text().splitlines()]


def test_lines_become_steps_and_the_last_result_the_output(rows):
    assert main(["extract", rows, "-s", "schema.json", "-o", "extracted.jsonl"]) == 0
    messages, turns, crash = read("extracted.jsonl")
    assert (messages["output"], messages["toolErrors"]) == ("yes it is", True)
    assert [step["type"] for step in messages["trajectory"]] == ["message", "tool_call"]
    assert messages["trajectory"][0]["timestamp"] is None
    assert (turns["output"], turns["trajectory"][0]["timestamp"]) == ("no", 2.5)
    assert (crash["output"], crash["toolErrors"], crash["error"]) == ("boom", True, "killed")


def test_text_is_extracted_as_it_was_printed(write_rows):
    Path("text.json").write_text(json.dumps({**SCHEMA, "outputMode": "text"}))
    name = write_rows("raw.jsonl", raw("a", "one", "{two", arrivals=[1, 2]))
    assert main(["extract", name, "-s", "text.json", "-o", "e.jsonl"]) == 0
    (row,) = read("e.jsonl")
    assert (row["output"], row["trajectory"]) == (
        "one\n{two", [{"type": "message", "content": "one\n{two", "timestamp": 2}],
    )  # fmt: skip


def test_a_schema_is_checked_as_when_it_runs(rows, capsys):
    Path("schema.json").write_text(json.dumps({**SCHEMA, "prompt": {"flag": "-p", "stdin": True}}))
    assert main(["extract", rows, "-s", "schema.json", "-o", "e.jsonl"]) == 2
    assert capsys.readouterr().err == "agentcap: --schema schema.json: prompt: flag and stdin exclude each other\n"
    Path("schema.json").write_text(json.dumps({**SCHEMA, "outputEvent": []}))
    assert main(["extract", rows, "-s", "schema.json", "-o", "e.jsonl"]) == 0
    assert capsys.readouterr().err == "agentcap: schema.json: keys that nobody reads: outputEvent\n"


def test_a_grader_that_crashes_loses_nothing(rows, capsys):
    assert main(["extract", rows, "-s", "schema.json", "-o", "extracted.jsonl"]) == 0
    assert main(["grade", "extracted.jsonl", "-g", "grader.py", "-o", "graded.jsonl"]) == 1
    messages, turns, crash = read("graded.jsonl")
    assert messages["score"] == {"pass": True, "score": 1.0, "reasoning": "hint found"}
    assert turns["score"]["pass"] is False
    assert (crash["verdict"], "cannot tell" in crash["reason"], crash["output"]) == ("grader_error", True, "boom")
    assert "score" not in crash
    assert "extracted.jsonl:3: grader grader: exited with code 1" in capsys.readouterr().err


def test_unknown_keys_go_through_and_an_old_grade_does_not(write_rows):
    Path("grader.py").write_text(GRADER)
    name = write_rows("e.jsonl", {"id": "a", "input": "q", "output": "yes", "hint": "yes", "mine": [1], "score": None})
    assert main(["grade", name, "-g", "grader.py"]) == 2
    name = write_rows(
        "e.jsonl", {"id": "a", "input": "q", "output": "yes", "hint": "yes", "mine": [1], "reason": "old"}
    )
    assert main(["grade", name, "-g", "grader.py", "-o", "g.jsonl"]) == 0
    (row,) = read("g.jsonl")
    assert row["mine"] == [1]
    assert "reason" not in row


def test_several_graders_are_all_kept(write_rows):
    for name, score in (("one", 1.0), ("two", 0.0)):
        Path(f"{name}.py").write_text(f"def grade():\n    return {{'pass': {bool(score)}, 'score': {score}}}\n")
    name = write_rows("e.jsonl", {"id": "a", "input": "q", "output": "x"})
    assert main(["grade", name, "-g", "one.py", "-g", "two.py", "-o", "g.jsonl"]) == 0
    (row,) = read("g.jsonl")
    assert row["score"] == {"pass": False, "score": 0.5}
    assert [(each["name"], each["pass"]) for each in row["graders"]] == [("one", True), ("two", False)]


def test_what_other_graders_said_is_kept_beside_a_broken_one(write_rows):
    Path("one.py").write_text("def grade():\n    return {'pass': True}\n")
    Path("two.py").write_text("def grade():\n    raise RuntimeError('why')\n")
    name = write_rows("e.jsonl", {"id": "a", "input": "q", "output": "x"})
    assert main(["grade", name, "-g", "one.py", "-g", "two.py", "-o", "g.jsonl"]) == 1
    (row,) = read("g.jsonl")
    assert (row["verdict"], [each["name"] for each in row["graders"]], "score" in row) == (
        "grader_error",
        ["one"],
        False,
    )


def test_graders_are_given_what_the_schema_says(write_rows, capture_of):
    Path("g.sh").write_text(f"#!/bin/sh\ncat > {Path.cwd()}/given.json\necho '{{\"pass\": true}}'\n")
    Path("g.sh").chmod(0o755)
    step = {"type": "tool_call", "name": "Read", "status": "completed", "timestamp": 1, "input": {"a": 1}}
    row = capture_of("a", hint="h", trajectory=[step], metadata={"category": "c"})
    assert main(["grade", write_rows("r.jsonl", row), "-g", "g.sh", "-o", "g.jsonl"]) == 0
    given = json.loads(Path("given.json").read_bytes())
    jsonschema.Draft202012Validator(schema_of("GraderInput")).validate(given)
    assert given == {key: row[key] for key in ("input", "output", "hint", "trajectory", "metadata")}


def test_the_commands_pipe(rows):
    agentcap = f"'{sys.executable}' -c 'import sys; from pytest_agentcap.cli import main; sys.exit(main())'"
    command = (
        f"cat {rows} | {agentcap} extract -s schema.json | {agentcap} grade -g grader.py | {agentcap} format -f csv"
    )
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    table = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [(row["id"], row["pass"], row["score"]) for row in table] == [
        ("messages", "true", "1.000"), ("turns", "false", "0.000"), ("crash", "", ""),
    ]  # fmt: skip


def test_what_the_pipe_wrote_is_a_result_of_the_other_commands(rows, capsys):
    assert main(["extract", rows, "-s", "schema.json", "-o", "e.jsonl"]) == 0
    assert main(["grade", "e.jsonl", "-g", "contains", "-o", "g.jsonl"]) == 0
    assert main(["summarize", "e.jsonl"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(each["id"], each["toolCalls"], each["duration"]) for each in told] == [
        ("messages", ["Read"], 9), ("turns", [], 9), ("crash", [], 9),
    ]  # fmt: skip
    assert main(["calibrate", "g.jsonl", "-o", "c.md"]) == 0
    assert "Samples: 2" in Path("c.md").read_text()
    assert main(["compare", "old:g.jsonl", "new:g.jsonl"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["quality"]["old"]["passRate"], report["reliability"]["new"]["completionRate"]) == (1 / 3, 2 / 3)


def test_a_pipe_is_read_as_a_file_of_rows(write_rows, capture_of, capsys):
    reader, writer = os.pipe()
    os.write(writer, json.dumps(capture_of("a", 1.0)).encode())
    os.close(writer)
    assert main(["summarize", f"/dev/fd/{reader}"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == "a"
    os.close(reader)


def test_what_came_to_no_answer_is_not_graded(write_rows, capture_of, capsys):
    rows = [capture_of(name, verdict=name, reason="why") for name in ("infra", "agent_timeout", "grader_error")]
    assert main(["grade", write_rows("r.jsonl", *rows), "-g", "contains:o", "-o", "g.jsonl"]) == 0
    infra, timed_out, graded = read("g.jsonl")
    assert (infra, timed_out) == (rows[0], rows[1])
    assert (graded["score"]["pass"], "verdict" in graded) == (True, False)
    assert "r.jsonl:2: not graded: agent_timeout" in capsys.readouterr().err


def test_trials_are_graded_again_and_taken_apart(write_rows, trials_of, capsys):
    row = trials_of("a", False, None, False, metadata={"category": "c"})
    row["trials"][0]["output"] = "yes"
    row["trials"][1] |= {"verdict": "infra", "reason": "why"}
    name = write_rows("t.jsonl", row)
    assert main(["grade", name, "-g", "contains:yes", "-o", "g.jsonl"]) == 0
    (graded,) = read("g.jsonl")
    jsonschema.Draft202012Validator(schema_of("TrialResult")).validate(graded)
    assert [trial.get("pass") for trial in graded["trials"]] == [True, None, False]
    assert (graded["passRate"], graded["metadata"], "estimates" in graded) == (0.5, {"category": "c"}, False)
    assert main(["summarize", "g.jsonl"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(each["id"], each["output"], each["duration"]) for each in told] == [
        ("a", "yes", 100), ("a", "o", 100), ("a", "o", 100),
    ]  # fmt: skip
    assert main(["calibrate", "g.jsonl", "--passes", "1", "-o", "c.md"]) == 0
    assert "## Sample 1: a (trial 3)" in Path("c.md").read_text()
    Path("two.py").write_text("def grade():\n    raise RuntimeError('why')\n")
    assert main(["grade", "g.jsonl", "-g", "two.py", "-o", "h.jsonl"]) == 1
    assert "g.jsonl:1: trial 3: grader two: exited with code 1" in capsys.readouterr().err
    assert "passRate" not in read("h.jsonl")[0]


def test_markdown_fences_hold_what_is_in_them(write_rows, capture_of, capsys):
    name = write_rows("r.jsonl", capture_of("a", 0.25, output="```\ncode\n```"), capture_of("b", verdict="infra"))
    assert main(["format", name, "-f", "markdown"]) == 0
    told = capsys.readouterr().out
    assert "````\n```\ncode\n```\n````" in told
    assert "- **Pass rate**: 0/1 (0.0%)" in told
    assert "**Verdict**: infra" in told


def test_what_a_grader_added_to_its_score_is_let_be(write_rows, capture_of, capsys):
    score = {"pass": True, "score": 0.85, "metadata": {"llmScore": 25}}
    name = write_rows("r.jsonl", capture_of("a", score=score))
    for command in ("summarize", "calibrate", "format"):
        assert main([command, name]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["score"] == score
    assert main(["compare", name, write_rows("b.jsonl", capture_of("a", 0.5))]) == 0
    assert json.loads(capsys.readouterr().out)["quality"]["r"]["avgScore"] == 0.85


def test_halves_are_rounded_away_from_zero(write_rows, capture_of, capsys):
    rows = [capture_of(str(n), score={"pass": n == 0, "score": 0.0625}) for n in range(16)]
    assert main(["format", write_rows("r.jsonl", *rows), "-f", "markdown"]) == 0
    told = capsys.readouterr().out
    assert "1/16 (6.3%)" in told
    assert "**Average score**: 0.063" in told


def test_each_trial_is_a_line(write_rows, trials_of, capsys):
    assert main(["format", write_rows("t.jsonl", trials_of("a", True, None)), "-f", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        '"a","q a","","o",false,100,true,1.000,"",1',
        '"a","q a","","o",false,100,,,,2',
    ]


@pytest.mark.parametrize(
    "words",
    [
        "format",
        "grade -g contains:x",
        "extract -s schema.json",
        "run -s schema.json",
        "capture --stdin -s schema.json",
        "trials --stdin -s schema.json",
    ],
)
def test_nothing_on_standard_input_is_an_error(write_rows, capsys, monkeypatch, words):
    Path("schema.json").write_text(json.dumps(SCHEMA))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert main(words.split()) == 2
    assert "standard input: holds no line" in capsys.readouterr().err


def test_a_summary_shows_files_in_short(write_rows, capture_of, capsys):
    content = "\n".join(f"line {n} {'y' * 40}" for n in range(30))
    step = {"type": "tool_call", "name": "Write", "status": "completed", "timestamp": 1, "duration": 7,
            "input": {"file_path": "a.py", "content": content}}  # fmt: skip
    name = write_rows("r.jsonl", capture_of("a", 1.0, trajectory=[step], metadata={"o": {"x": 1}}))
    assert main(["summarize", name, "-m"]) == 0
    told = capsys.readouterr().out
    assert "1. [TOOL:Write] -> completed (7ms) [→a-step-1]\n   File: a.py (" in told
    assert "// ... 18 lines omitted ..." in told
    assert '**Metadata:** o={"x": 1}' in told
    assert main(["summarize", name]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row == {"id": "a", "input": "q a", "output": "o", "toolCalls": ["Write"], "duration": 1000}


def test_a_reference_that_fails_its_grader_fails_the_corpus(write_rows, capsys):
    Path("grader.py").write_text(GRADER)
    names = {"ok": "oh yes", "bad": "no", "crash": "boom"}
    corpus = [{"id": name, "input": "q", "hint": "yes", "reference": text} for name, text in names.items()]
    name = write_rows("p.jsonl", *corpus, {"id": "none", "input": "q"})
    assert main(["validate-refs", name, "-g", "grader.py", "-o", "v.jsonl"]) == 1
    ok, bad, crash = read("v.jsonl")
    assert ok["graderResult"] == {key: ok[key] for key in ("pass", "score", "reasoning")}
    assert [each["passes"] for each in (ok, bad, crash)] == [True, False, False]
    assert (crash["input"], "pass" in crash, "cannot tell" in crash["reason"]) == ("q", False, True)
    assert "Results: 1 passed, 2 failed" in capsys.readouterr().err


def test_without_a_reference_nothing_is_written(write_rows, capsys):
    name = write_rows("p.jsonl", {"id": "a", "input": "q"})
    assert main(["validate-refs", name, "-g", "contains:x", "-o", "v.jsonl"]) == 0
    assert capsys.readouterr().err == "No prompts with reference solutions found\n"
    assert not Path("v.jsonl").exists()


def test_references_are_acted_out(write_rows, capsys):
    Path("grader.py").write_text("def grade(cwd):\n    import os\n    return {'pass': 'made' in os.listdir(cwd)}\n")
    name = write_rows(
        "prompts.jsonl",
        {"id": "makes", "input": "make it", "reference": "touch made"},
        {"id": "makes-not", "input": "make it", "reference": "touch other"},
    )
    assert main(["validate-refs", name, "-g", "grader.py", "--run", "--sandbox", "host", "-o", "v.jsonl"]) == 1
    makes, not_made = read("v.jsonl")
    assert (makes["passes"], makes["run"]["verdict"]) == (True, "passed")
    assert (not_made["passes"], not_made["run"]["verdict"]) == (False, "failed")


def test_built_in_graders_judge_finished_results_too(rows, capsys):
    assert main(["extract", rows, "-s", "schema.json", "-o", "extracted.jsonl"]) == 0
    assert main(["grade", "extracted.jsonl", "-g", "contains", "-g", "regex:^yes", "-o", "g.jsonl"]) == 0
    told = read("g.jsonl")
    assert [(each["name"], each["pass"]) for each in told[0]["graders"]] == [("contains", True), ("regex", True)]
    assert main(["grade", "extracted.jsonl", "-g", "command:true", "-o", "c.jsonl"]) == 1
    assert read("c.jsonl")[0]["reason"].startswith("grader command: there is no workspace to run it in")


def test_a_finished_result_has_no_workspace(write_rows):
    Path("g.py").write_text("def grade(cwd):\n    return {'pass': cwd is None}\n")
    Path("g.sh").write_text("#!/bin/sh\ngrep -q cwd && echo '{\"pass\": false}' || echo '{\"pass\": true}'\n")
    Path("g.sh").chmod(0o755)
    name = write_rows(
        "e.jsonl", {"id": "a", "input": "q", "output": "x", "metadata": {"contains": {"all": ["x"], "file": "f"}}}
    )
    assert main(["grade", name, "-g", "g.py", "-g", "./g.sh", "-o", "g.jsonl"]) == 0
    assert read("g.jsonl")[0]["score"]["pass"]
    assert main(["grade", name, "-g", "contains", "-o", "c.jsonl"]) == 1
    assert read("c.jsonl")[0]["reason"] == "grader contains: no workspace with f; it needs a session's end"


def test_a_judge_that_cannot_be_used_is_one_line(rows, capsys, monkeypatch):
    monkeypatch.setenv("AGENTCAP_JUDGE_MODEL", "m")
    monkeypatch.delenv("AGENTCAP_JUDGE_UPSTREAM", raising=False)
    assert main(["grade", rows, "-g", "grader.py"]) == 2
    assert "--judge-model m: needs its server" in capsys.readouterr().err


def test_references_are_acted_out_for_built_in_graders(write_rows):
    task = {"id": "makes", "input": "make it", "reference": "touch made"}
    name = write_rows("prompts.jsonl", {**task, "metadata": {"command": "test -f made"}})
    words = ["-g", "command", "-g", "git-diff:made", "--run", "--sandbox", "host", "-o", "v.jsonl"]
    assert main(["validate-refs", name, *words]) == 0
    assert read("v.jsonl")[0]["passes"]
