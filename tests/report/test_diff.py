"""`agentcap diff`: task by task, and beyond noise."""

from __future__ import annotations

import json

import pytest

from pytest_agentcap.analysis.statistics import Bootstrap
from pytest_agentcap.cli import main
from pytest_agentcap.report.difference import difference


def row(task: str, success: bool | None, **more):
    verdict = {True: "passed", False: "failed", None: "infra"}[success]
    return {"repo": "r", "task_id": task, "verdict": verdict, "success": success, **more}


def named(told, name):
    return next(each for each in told.figures if each.name == name)


def test_what_many_tasks_lost_is_worse_beyond_noise():
    old = [row(f"t{n}", True, duration_s=10.0 + n) for n in range(12)]
    new = [row(f"t{n}", n < 3, duration_s=5.0 + n) for n in range(12)]
    told = difference(old, new, Bootstrap(0))
    success = named(told, "success")
    assert (success.before, success.after, success.direction) == (1, 0.25, "worse")
    # 9 of 9 signs that are not 0 fell one way: 2 / 2^9.
    assert success.p == pytest.approx(2 / 2**9)
    # All differ by the same: nothing is drawn. Less time is better.
    assert named(told, "duration_s").interval == (-5, -5)
    assert named(told, "duration_s").direction == "better"
    assert told.regressed == ("success",)
    assert [task.task_id for task in told.changed("worse")] == [f"t{n}" for n in range(3, 12)]


def test_one_task_more_or_less_is_noise():
    old = [row(f"t{n}", n != 0) for n in range(10)]
    new = [row(f"t{n}", n != 1) for n in range(10)]
    told = difference(old, new, Bootstrap(0))
    assert named(told, "success").direction == "within noise"
    assert told.regressed == ()
    assert [(task.task_id, task.change) for task in told.tasks[:3]] == [
        ("t0", "better"),
        ("t1", "worse"),
        ("t2", "same"),
    ]


def test_trials_of_a_task_are_averaged_and_tasks_that_one_side_lacks_are_named():
    old = [row("a", True), row("a", False), row("gone", True)]
    new = [row("a", True), row("a", True), row("new", True)]
    told = difference(old, new, Bootstrap(0))
    assert (named(told, "success").before, named(told, "success").after) == (0.5, 1)
    assert (told.only_before, told.only_after) == (("r/gone",), ("r/new",))


def test_infra_and_unknown_figures_are_not_compared():
    old = [row("a", True, calls=3, prompt_tokens=None, completion_tokens=1), row("b", True, calls=4)]
    new = [row("a", None, calls=None), row("b", True, calls=4)]
    told = difference(old, new, Bootstrap(0))
    assert (named(told, "success").tasks, named(told, "calls").tasks, named(told, "tokens").tasks) == (1, 1, 0)
    assert named(told, "success").direction == "not comparable"
    assert told.tasks[0].change == "changed"


def test_the_command_fails_on_what_is_worse_and_reads_reports_too(make_run, capsys):
    make_run("old", *((f"t{n}", "passed", {}) for n in range(8)))
    make_run("new", *((f"t{n}", "failed", {}) for n in range(8)))
    assert main(["report", "old", "-o", "base"]) == 0
    capsys.readouterr()
    assert main(["diff", "base", "new"]) == 1
    told = capsys.readouterr()
    assert "| success | 8 | 100.0% | 0.0% | -100.0% | -100.0% to -100.0% | 0.008 | worse |" in told.out
    assert "| shop/t0 | passed | failed | – |" in told.out
    assert "worse beyond noise: success" in told.err
    assert main(["diff", "new", "base/run_aggregate.json", "-f", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["figures"][0]["direction"] == "better"


def test_slower_and_dearer_runs_are_told_and_fail_nothing(make_run, capsys):
    make_run("old", *((f"t{n}", "passed", {"ended_at": 12.0 + n, "cost_usd": 0.5}) for n in range(9)))
    make_run("new", *((f"t{n}", "passed", {"ended_at": 22.0 + n, "cost_usd": 0.25}) for n in range(9)))
    assert main(["diff", "old", "new"]) == 0
    told = capsys.readouterr().out
    assert "| duration_s | 9 | 6.0 | 16.0 | +10.0 | +10.0 to +10.0 | 0.004 | slower |" in told
    assert "| cost_usd | 9 | 0.5000 | 0.2500 | -0.2500 | -0.2500 to -0.2500 | 0.004 | cheaper |" in told


def test_any_worse_task_fails_if_asked(make_run, capsys):
    make_run("old", ("a", "passed", {}), ("b", "passed", {}), ("c", "failed", {}))
    make_run("new", ("a", "passed", {}), ("b", "failed", {}), ("c", "passed", {}))
    assert main(["diff", "old", "new"]) == 0
    assert main(["diff", "old", "new", "--fail-on", "any"]) == 1
    assert "worse: shop/b" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("baseline", "said"),
    [("gone", "neither a run"), ("odd/run_aggregate.json", "not the figures"), ("other", "no task in common")],
)
def test_what_cannot_be_compared_is_one_line(make_run, workspace, capsys, baseline, said):
    make_run("new", ("a", "passed", {}))
    make_run("other", ("z", "passed", {}))
    (workspace / "odd").mkdir()
    (workspace / "odd/run_aggregate.json").write_text("[]")
    assert main(["diff", baseline, "new"]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_a_report_of_several_runs_is_no_baseline(make_run, capsys):
    make_run("old", ("a", "passed", {}))
    make_run("new", ("a", "passed", {}))
    assert main(["report", "--all", "-o", "base"]) == 0
    assert main(["diff", "base", "new"]) == 2
    assert "holds 2 runs (new, old)" in capsys.readouterr().err
