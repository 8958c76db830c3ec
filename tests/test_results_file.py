from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from pytest_agentcap.analysis.sources import read_results
from pytest_agentcap.conversation.sources import Faults
from pytest_agentcap.results_file import ResultsFile, begin_files, named_after
from pytest_agentcap.runs.layout import RunDirectory

STEPS = """
def grade(*, trajectory, output):
    calls = [step for step in trajectory if step["type"] == "tool_call"]
    told = [calls[0]["name"], calls[0]["status"], calls[0]["stepId"] != "", trajectory[-1]["content"] == output]
    ordered = calls[0]["timestamp"] < trajectory[-1]["timestamp"]
    return {"pass": bool(calls[0]["input"]) and ordered, "outcome": {"t": told}}
"""


def result(task: str, trial: int, **more: Any) -> dict[str, Any]:
    told = {"corpus": "shop", "task_id": task, "trial": trial, "attempt": 1, "verdict": "passed", "calls": 1}
    told |= {"session": f"{task}-{trial}", "nodeid": f"{task}-{trial}", "started_at": time.time(), "graders": []}
    return {**told, "prompt": "buy", "turns": [], "agent": "pi", "request_ids": [], **more}


def file_of(tmp_path: Path, trials: int = 1) -> ResultsFile:
    file = ResultsFile(tmp_path / "out.jsonl", RunDirectory(tmp_path / "run"), tmp_path, trials, time.time())
    begin_files([file], append=False)
    return file


def saved(file: ResultsFile, *results: dict[str, Any]) -> list[dict[str, Any]]:
    """Write results as their workers leave them, and return them."""
    file.run.results.mkdir(parents=True, exist_ok=True)
    for each in results:
        file.run.result(each["session"]).write_text(json.dumps({"format": "agentcap-result-1", **each}))
    return list(results)


def lines(file: ResultsFile) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.path.read_bytes().splitlines()]


def test_a_line_is_written_once_and_when_the_test_has_ended(tmp_path: Path) -> None:
    file = file_of(tmp_path)
    results = saved(file, result("tea", 1), result("milk", 1), result("eggs", 1, verdict=None))

    for finished in (set(), {"milk-1"}, {"milk-1", "tea-1"}, {"milk-1", "tea-1"}):
        file.add(results, finished)

    assert [line["id"] for line in lines(file)] == ["milk", "tea"]


def test_trials_are_one_line_when_all_have_ended(tmp_path: Path) -> None:
    file = file_of(tmp_path, trials=2)
    results = saved(file, result("tea", 2, verdict="failed"), result("tea", 1), result("milk", 1))

    file.add(results, {"tea-1", "milk-1"})
    assert lines(file) == []
    file.add(results, {"tea-1", "tea-2", "milk-1"})
    file.add(results, set(), last=True)

    tea, milk = lines(file)
    assert (tea["k"], [trial["trialNum"] for trial in tea["trials"]], tea["passRate"]) == (2, [1, 2], 0.5)
    assert (tea["passAtK"], tea["passExpK"], tea["estimates"]["passAt"]) == (0.75, 0.25, {"1": 0.5, "2": 1.0})
    assert (milk["id"], milk["k"]) == ("milk", 1)


def test_what_an_earlier_pytest_session_left_is_not_written_again(tmp_path: Path) -> None:
    file = file_of(tmp_path)

    file.add(saved(file, result("tea", 1, started_at=time.time() - 60), result("milk", 1)), set(), last=True)

    assert [line["id"] for line in lines(file)] == ["milk"]


def test_a_file_is_begun_anew_or_added_to(tmp_path: Path) -> None:
    file = file_of(tmp_path)
    file.path.write_text('{"id": "old"}\n')
    begin_files([file], append=True)
    assert file.path.read_text() == '{"id": "old"}\n'
    begin_files([file], append=False)
    assert file.path.read_text() == ""


def test_a_file_that_cannot_be_written_is_one_line_and_nothing_is_lost(tmp_path: Path) -> None:
    file = file_of(tmp_path)
    file.path.write_text('{"id": "old"}\n{"id": "cu')
    folder = ResultsFile(tmp_path / "no" / "out.jsonl", file.run, tmp_path, 1)
    with pytest.raises(ValueError, match="its last line is cut off"):
        begin_files([file], append=True)
    with pytest.raises(ValueError, match="its folder is not there"):
        begin_files([file, folder], append=False)
    assert file.path.read_text().endswith('{"id": "cu')


def test_several_runs_have_a_file_each() -> None:
    path = Path("/there/out.jsonl")
    assert named_after(path, {"agent": "pi", "model": "org/m:fast"}).name.startswith("out-pi-m-fast-")
    assert named_after(path, {"agent": "pi", "model": "m", "label": "blue"}) == Path("/there/out-pi-m-blue.jsonl")


def test_rows_come_from_all_workers_and_graders_see_the_trajectory(project):
    project.write("steps.py", STEPS)
    tasks = [{"id": f"t{n}", "input": f"Write {n}", "reference": f"echo {n} > {n}.txt"} for n in range(3)]
    project.write_jsonl(*tasks)
    options = ("--grader", "steps.py", "--trials", "2", "-n2", "--results", "out.jsonl")
    project.capture(*options).assert_outcomes(passed=6)
    project.capture(*options, "--append", "-k", "t1").assert_outcomes(passed=2)
    outcomes = [result["graders"][0]["outcome"]["t"] for result in project.results()]
    assert outcomes == [["bash", "completed", True, True]] * 8

    results = read_results(str(project.path / "out.jsonl"), Faults(), kind="trials")
    assert sorted(row.id for row in results.trials) == ["t0", "t1", "t1", "t2"]
    assert {(row.k, row.pass_rate) for row in results.trials} == {(2, 1.0)}
    assert all(trial.trajectory and trial.origin for row in results.trials for trial in row.trials)


def test_append_alone_means_nothing(project):
    project.write_tasks("hi")
    done = project.capture("--append")
    assert done.ret == 4
    done.stderr.fnmatch_lines(["ERROR: --append needs --results FILE.jsonl"])
