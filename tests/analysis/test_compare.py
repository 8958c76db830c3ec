"""`agentcap compare`: what is counted, who wins, and what is said aloud."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_agentcap.cli import main


def compared(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[dict[str, Any], str]:
    assert main(["compare", *args]) == 0
    told = capsys.readouterr()
    return json.loads(told.out), told.err


def test_figures_are_of_the_common_tasks_and_the_others_are_named(write_rows, capture_of, capsys):
    a = write_rows("a.jsonl", capture_of("both", 1.0), capture_of("alone", 0.0))
    b = write_rows("b.jsonl", capture_of("both", 0.5))
    report, said = compared(capsys, a, b)
    assert report["quality"]["a"]["avgScore"] == 1.0
    assert report["meta"]["promptCount"] == 2
    assert "a: 1 of 2 tasks are not in every run, and left out: alone" in said
    report, said = compared(capsys, a, b, "--all-tasks")
    assert report["quality"]["a"]["avgScore"] == 0.5
    assert "counted all the same" in said


def test_a_tie_is_nobodys_win(write_rows, capture_of, capsys):
    a = write_rows("a.jsonl", capture_of("tie", 0.8), capture_of("won", 1.0))
    b = write_rows("b.jsonl", capture_of("tie", 0.8), capture_of("won", 0.2))
    report, _ = compared(capsys, a, b)
    assert [each["winner"] for each in report["headToHead"]["prompts"]] == [None, "a"]
    assert report["headToHead"]["pairwise"] == [{"runA": "a", "runB": "b", "aWins": 1, "bWins": 0, "ties": 1}]


def test_a_task_won_by_a_third_run_still_tells_the_pair_apart(write_rows, capture_of, capsys):
    files = [
        write_rows(f"{name}.jsonl", capture_of("t", score)) for name, score in (("a", 0.2), ("b", 0.6), ("c", 1.0))
    ]
    report, _ = compared(capsys, *files)
    wins = {(pair["runA"], pair["runB"]): (pair["aWins"], pair["bWins"]) for pair in report["headToHead"]["pairwise"]}
    assert wins == {("a", "b"): (0, 1), ("a", "c"): (0, 1), ("b", "c"): (0, 1)}


def test_the_weighted_score_is_half_score_three_tenths_speed_and_a_fifth_no_tool_errors(write_rows, capture_of, capsys):
    a = write_rows("a.jsonl", capture_of("t", 1.0, total=1000))
    b = write_rows("b.jsonl", capture_of("t", 0.9, total=2500, toolErrors=True))
    report, _ = compared(capsys, a, b)
    assert report["headToHead"]["prompts"][0]["scores"] == pytest.approx({"a": 0.85, "b": 0.5357142857142857})


def test_what_was_not_graded_is_neither_passed_nor_failed(write_rows, capture_of, capsys):
    a = write_rows("a.jsonl", capture_of("x", 1.0), capture_of("y"), capture_of("z", verdict="infra"))
    b = write_rows("b.jsonl", capture_of("x", 1.0), capture_of("y", 0.0), capture_of("z", 1.0))
    report, said = compared(capsys, a, b)
    quality = report["quality"]["a"]
    assert (quality["passRate"], quality["failCount"], quality["ungraded"]) == (1.0, 0, 2)
    assert report["reliability"]["a"]["infra"] == 1
    assert [each["winner"] for each in report["headToHead"]["prompts"]] == [None] * 3
    assert "a: 2 of 3 sessions have no score" in said


def test_a_timeout_is_counted_where_the_harness_recorded_it(write_rows, capture_of, capsys):
    a = write_rows("a.jsonl", capture_of("t", 0.0, metadata={"timedOut": True}))
    b = write_rows("b.jsonl", capture_of("t", 1.0, errors=["Request TIMEOUT after 60000ms"]))
    report, _ = compared(capsys, a, b)
    assert [report["reliability"][run]["timeouts"] for run in "ab"] == [1, 1]


def test_trials_have_plug_in_figures_under_their_names_and_unbiased_ones_beside_them(write_rows, trials_of, capsys):
    a = write_rows("a.jsonl", trials_of("t", True, True, False))
    b = write_rows("b.jsonl", trials_of("t", True, False, False))
    report, said = compared(capsys, a, b)
    assert report["capability"]["a"]["avgPassAtK"] == pytest.approx(1 - (1 / 3) ** 3)
    assert report["estimates"]["a"]["passAt"] == pytest.approx({"1": 2 / 3, "2": 1, "3": 1})
    assert report["estimates"]["a"]["passPow"] == pytest.approx({"1": 2 / 3, "2": 1 / 3, "3": 0})
    assert report["perPrompt"][0]["capabilityWinner"] == "a"
    assert said == ""


def test_different_numbers_of_trials_are_said_aloud(write_rows, trials_of, capsys):
    _, said = compared(
        capsys, write_rows("a.jsonl", trials_of("t", True)), write_rows("b.jsonl", trials_of("t", True, False))
    )
    assert "the number of trials differs (a: 1; b: 2)" in said


def test_trials_that_were_not_judged_are_in_no_rate(write_rows, trials_of, capsys):
    a = write_rows("a.jsonl", trials_of("t", True, None, None))
    b = write_rows("b.jsonl", trials_of("t", True, True, False))
    report, said = compared(capsys, a, b)
    assert report["estimates"]["a"] | {"passPow": 0} == {
        "tasks": 1, "judged": 1, "passed": 1, "excluded": {"ungraded": 2}, "passRate": 1.0,
        "passAt": {"1": 1.0, "2": None, "3": None}, "passPow": 0, "flakiness": None,
    }  # fmt: skip
    assert "a: 2 of 3 trials were not judged" in said


def test_statistics_pair_by_task_and_come_from_the_seed(write_rows, capture_of, capsys):
    a = write_rows("a.jsonl", *(capture_of(f"t{n}", 1.0) for n in range(6)))
    b = write_rows("b.jsonl", *(capture_of(f"t{n}", 0.0 if n < 4 else 1.0) for n in range(6)))
    report, _ = compared(capsys, a, b, "-s", "statistical", "--seed", "4")
    again, _ = compared(capsys, a, b, "-s", "statistical", "--seed", "4")
    assert report["paired"] == again["paired"]
    passes = report["paired"][1]
    # Four tasks differ, all the same way: 2 of 16 signings are as extreme.
    assert (passes["metric"], passes["tasks"], passes["pValue"]) == ("pass", 6, pytest.approx(2 / 16))
    assert passes["difference"] == pytest.approx(4 / 6)
    assert passes["interval"][0] > 0
    assert report["quality"]["b"]["confidenceIntervals"]["passRate"] is not None


def test_markdown_is_chosen_by_the_files_ending(write_rows, capture_of):
    a, b = (
        write_rows("a.jsonl", capture_of("t", 1.0)),
        write_rows("b.jsonl", capture_of("t|x", 0.0), capture_of("t", 0.0)),
    )
    assert main(["compare", a, b, "-s", "statistical", "-o", "out/report.md"]) == 0
    report = Path("out/report.md").read_text()
    assert "| a vs b | 1 | 0 | 0 |" in report
    assert "> b: 1 of 2 tasks" in report
    assert "## Paired by Task" in report


def test_richness_is_that_of_the_first_session_that_tells_it(write_rows, capture_of, capsys):
    full, step = {"trajectoryRichness": "full"}, {"type": "thought", "content": "hm", "timestamp": 1}
    a = write_rows("a.jsonl", capture_of("t", 1.0), capture_of("u", 1.0, metadata=full))
    b = write_rows("b.jsonl", capture_of("t", 1.0, trajectory=[]), capture_of("u", 1.0, trajectory=[step]))
    c = write_rows("c.jsonl", capture_of("t", 1.0), capture_of("u", 1.0, trajectory=[]))
    assert main(["compare", a, b, c]) == 0
    told = json.loads(capsys.readouterr().out)["trajectoryInfo"]
    assert [told[run]["richness"] for run in "abc"] == ["full", "full", "messages-only"]


def test_trials_have_a_markdown_report(write_rows, trials_of, capsys):
    a, b = write_rows("a.jsonl", trials_of("t", True, True)), write_rows("b.jsonl", trials_of("t", True, False))
    assert main(["compare", a, b, "-f", "markdown"]) == 0
    told = capsys.readouterr().out
    assert "| a | 1.000 | 1.000 | 1.000 | 1.000 | 0.000 | 2 |" in told
    assert told.startswith("# Trials Comparison Report\n")
    assert "Prompts: 1 | Trials per prompt: 2\n" in told
    assert "## Quality (Scores)" in told
    assert "| a | 100 | 100 | 100 | 100 | 200 |" in told
    assert "### Overall (Weighted)\n| Matchup | A Wins | B Wins | Ties |" in told


def test_an_executable_may_rank(write_rows, capture_of, capsys):
    a = write_rows("a.jsonl", capture_of("t", 1.0), capture_of("u", 1.0))
    b = write_rows("b.jsonl", capture_of("t", 0.0), capture_of("u", 0.0))
    grader = Path("rank.sh")
    rankings = [{"run": run, "rank": 1, "score": 1} for run in "ab"]
    grader.write_text(f"#!/bin/sh\necho '{json.dumps({'rankings': rankings, 'reasoning': 'r'})}'\n")
    grader.chmod(0o755)
    report, _ = compared(capsys, a, b, "-s", "custom", "-g", "rank.sh")
    assert report["headToHead"]["pairwise"][0]["ties"] == 2
    assert report["headToHead"]["prompts"][0]["reasoning"] == "r"


def test_a_module_may_rank_under_the_originals_names(write_rows, capture_of, capsys, need):
    need("node")
    a, b = write_rows("a.jsonl", capture_of("t", 0.0)), write_rows("b.jsonl", capture_of("t", 1.0))
    Path("rank.mjs").write_text(
        "export const compare = async ({ runs }) => ({ rankings: Object.entries(runs)"
        ".map(([run, { score }]) => ({ run, rank: 2 - score.score, score: score.score })) })\n"
    )
    report, _ = compared(capsys, a, b, "-s", "custom", "-g", "rank.mjs")
    assert report["headToHead"]["prompts"][0]["winner"] == "b"


def test_a_comparison_grader_that_fails_loses_its_task_alone(write_rows, capture_of, capsys):
    a = write_rows("a.jsonl", capture_of("bad", 1.0), capture_of("good", 1.0))
    b = write_rows("b.jsonl", capture_of("bad", 0.0), capture_of("good", 0.0))
    Path("rank.py").write_text(
        "def grade(id, runs):\n"
        "    names = sorted(runs) if id == 'good' else ['nobody']\n"
        "    return {'rankings': [{'run': name, 'rank': n, 'score': 0} for n, name in enumerate(names, 1)]}\n"
    )
    assert main(["compare", a, b, "-s", "custom", "-g", "rank.py"]) == 1
    told = capsys.readouterr()
    assert [each["winner"] for each in json.loads(told.out)["headToHead"]["prompts"]] == [None, "a"]
    assert "bad: grader rank: it must rank each of a, b at most once" in told.err


@pytest.mark.parametrize("value", ["nan", "-1", "much"])
def test_weights_that_are_no_weights_are_refused(write_rows, capture_of, capsys, monkeypatch, value):
    monkeypatch.setenv("COMPARE_QUALITY", value)
    a, b = write_rows("a.jsonl", capture_of("t", 1.0)), write_rows("b.jsonl", capture_of("t", 1.0))
    assert main(["compare", a, b]) == 2
    assert f"COMPARE_QUALITY={value}" in capsys.readouterr().err
