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


def check(task, folder: Path) -> int:
    """Run what the corpus's grader would run, without a sandbox."""
    source = (ROOT / "corpora/mbpp/conftest.py").read_text()
    names: dict = {}
    exec(compile(source, "conftest.py", "exec"), names)
    [words] = names["grader"].__wrapped__(task).values()
    return subprocess.run(words, cwd=folder, capture_output=True).returncode


def test_there_are_twenty_tasks_or_more_with_three_tests_each():
    assert len(TASKS) >= 20
    assert all(len(task.metadata["tests"]) >= 3 and task.metadata["licence"] for task in TASKS)


def test_all_references_pass_their_own_tests_and_no_others(tmp_path):
    for number, task in enumerate(TASKS):
        folder = tmp_path / task.id
        folder.mkdir()
        subprocess.run(["sh", "-ec", task.references[0]], cwd=folder, check=True)
        assert check(task, folder) == 0, task.id
        assert check(TASKS[number - 1], folder) == 1, task.id


@pytest.mark.parametrize("solution", WRONG.values(), ids=WRONG)
def test_a_wrong_solution_fails_however_it_ends(solution, tmp_path):
    (tmp_path / "solution.py").write_text(solution)
    assert check(TASKS[0], tmp_path) == 1
