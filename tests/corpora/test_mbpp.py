"""The corpus mbpp: its tests decide, whatever a solution does."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pytest_agentcap.corpus.reader import read_corpus

ROOT = Path(__file__).parents[2]
TASKS = read_corpus(ROOT / "corpora/mbpp/prompts.jsonl", root=ROOT)
WRONG = {
    "nothing": "",
    "an early end": "import sys\nsys.exit(0)\n",
    "a hard end": "import os\nos._exit(0)\n",
    "no function": "print('all tests passed')\n",
    "a function that knows all": "def running_max(numbers): return numbers\n",
    "no Python": "def (",
}


def corpus_names() -> dict:
    names: dict = {}
    exec(compile((ROOT / "corpora/mbpp/conftest.py").read_text(), "conftest.py", "exec"), names)
    return names


def check(task, folder: Path) -> int:
    """Run what the corpus's grader would run, without a sandbox."""
    [words] = corpus_names()["grader"].__wrapped__(task).values()
    return subprocess.run(words, cwd=folder, capture_output=True).returncode


def try_tests(task, solution: str) -> None:
    """Run a task's tests on a solution here: a process for each of them takes long."""
    tests, setup = "\n".join(task.metadata["tests"]), task.metadata.get("setup", "")
    program = corpus_names()["_CHECK"].format(tests=tests, setup=setup, word=b"")
    exec(program.replace("from solution import *", solution).rpartition("import os")[0], {})


def test_there_are_twenty_tasks_or_more_with_three_tests_each():
    assert len(TASKS) >= 20
    assert all(len(task.metadata["tests"]) >= 3 and task.metadata["licence"] for task in TASKS)


def test_all_references_pass_their_own_tests_and_no_others(tmp_path):
    for number, task in enumerate(TASKS):
        folder = tmp_path / task.id
        folder.mkdir()
        script, _, _ = task.references[0].partition("\n\npython3 ")
        subprocess.run(["sh", "-ec", script], cwd=folder, check=True)
        solution = (folder / "solution.py").read_text()
        try_tests(task, solution)
        with pytest.raises((NameError, AssertionError)):
            try_tests(TASKS[number - 1], solution)


def test_a_reference_passes_the_grader_and_another_ones_tests_do_not(tmp_path):
    subprocess.run(["sh", "-ec", TASKS[0].references[0]], cwd=tmp_path, check=True)
    assert check(TASKS[0], tmp_path) == 0
    assert check(TASKS[1], tmp_path) == 1


@pytest.mark.parametrize("solution", WRONG.values(), ids=WRONG)
def test_a_wrong_solution_fails_however_it_ends(solution, tmp_path):
    (tmp_path / "solution.py").write_text(solution)
    assert check(TASKS[0], tmp_path) == 1
