"""`agentcap analyze`: its figures, and the forms in which it tells them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_agentcap.cli import main


@pytest.fixture
def theirs(workspace, foreign):
    Path("theirs.jsonl").write_text(json.dumps(foreign) + "\n")
    return "theirs.jsonl"


def test_figures_of_a_run(run, capsys):
    assert main(["analyze", "shop-run", "-f", "json", "--top", "1"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["places"] == {"shop-run": 1}
    (group,) = told["groups"]
    assert (group["dataset"], group["agent"], group["model"]) == ("shop", "pi", "org/m")
    assert (group["success_rate"], group["steps"], group["calls"], group["failed_calls"]) == (1.0, 3, 2, 1)
    assert (group["input_tokens"], group["output_tokens"]) == (30, 6)
    (tool,) = told["tools"]
    assert tool["exit_codes"] == {"1": 1, "0": 1}
    cpu = tool["figures"]["cpu_s"]
    assert (cpu["n"], cpu["unknown"], cpu["max"]) == (1, 1, pytest.approx(0.3))
    assert told["retries"] == [{"tool": "bash", "chains": 1, "calls": 2, "longest": 2, "recovered": 1}]
    assert told["measured"] == {"taskstats, exact": 1, "none, none": 1}
    assert [call["command"] for call in told["hungriest_memory"]] == ["false"]


def test_datasets_and_models_are_compared(run, theirs, capsys):
    assert main(["analyze", "shop-run", theirs]) == 0
    lines = capsys.readouterr().out.splitlines()
    sessions = lines[lines.index("Sessions") + 2 :][:3]
    assert [line.split()[0] for line in sessions] == ["nl2bash", "shop", "all"]
    assert "–" in sessions[0]
    assert "100.0% (1/1)" in sessions[1]


def test_a_high_water_mark_is_no_memory_of_a_call(theirs, capsys):
    assert main(["analyze", theirs, "-f", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["high_water_sessions"], told["hungriest_memory"]) == (1, [])
    assert told["slowest"][0]["peak_rss_bytes"] is None
    assert main(["analyze", theirs]) == 0
    assert "1 sessions are AgentTrace's own" in capsys.readouterr().out


def test_markdown_holds_captured_text_as_nothing_but_text(theirs, foreign):
    foreign["spans"][0]["tool_name"] = "ba|sh <b>\x1b[31m"
    Path(theirs).write_text(json.dumps(foreign))
    assert main(["analyze", theirs, "-f", "markdown", "-o", "out/analysis.md"]) == 0
    text = Path("out/analysis.md").read_text()
    assert "| ba\\|sh &lt;b>" in text
    assert "\x1b" not in text


def test_what_could_not_be_read_makes_the_status_1(theirs, foreign, capsys):
    Path(theirs).write_text("{\n" + json.dumps(foreign))
    assert main(["analyze", theirs]) == 1
    assert "theirs.jsonl: line 1" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--all"], ["nowhere"], ["empty.jsonl"], ["shop-run", "--all"]])
def test_nothing_to_analyze_is_one_line(workspace, capsys, arguments):
    Path("empty.jsonl").touch()
    assert main(["analyze", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1
