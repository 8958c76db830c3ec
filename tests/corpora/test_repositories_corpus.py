"""The shipped tasks on repositories: each solution keeps to its rules and is right, and doing nothing is wrong."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pytest_agentcap.corpus.reader import corpus_files, read_corpus
from pytest_agentcap.corpus.task import Task
from pytest_agentcap.grading.truth import Truth
from pytest_agentcap.safety.audit import Audit
from pytest_agentcap.safety.places import Places
from pytest_agentcap.upstream.script import split_commands

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "corpora" / "repositories"
TASKS = [task for path in corpus_files(CORPUS) for task in read_corpus(path, root=ROOT)]
COMMITS = {
    "almanac": "32c8f131e75d7872a7de877a6d38aae7ab7124af",
    "ledger": "1279ba3247199a37126fed60641f957888375e18",
}


@pytest.fixture(scope="module")
def checkouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of each repository, from its bundle."""
    root = tmp_path_factory.mktemp("checkouts")
    for name in COMMITS:
        bundle = CORPUS / "repos" / f"{name}.bundle"
        subprocess.run(
            ["git", "clone", "-q", "-b", "v1", str(bundle), str(root / name)], check=True, capture_output=True
        )
    return root


def test_there_are_ten_tasks_on_two_repositories_with_every_comparator():
    assert len({task.id for task in TASKS}) == 10
    repos = [task.repo for task in TASKS if task.repo]
    assert {repo.repository.id for repo in repos} == set(COMMITS)
    comparators = {output.comparator for repo in repos for output in repo.outputs}
    assert comparators == {"equals", "approx", "set", "regex", "json-schema"}
    assert {repo.difficulty for repo in repos} == {"easy", "medium", "hard"}


def test_the_generator_makes_the_same_commits_again(tmp_path):
    subprocess.run([ROOT / "tools" / "make-repositories", tmp_path], check=True)
    for name, commit in COMMITS.items():
        for bundle in (tmp_path / f"{name}.bundle", CORPUS / "repos" / f"{name}.bundle"):
            listed = subprocess.run(["git", "ls-remote", bundle, "v1"], check=True, capture_output=True, text=True)
            assert listed.stdout.split() == [commit, "refs/tags/v1"]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.id)
def test_a_solution_is_right_and_keeps_to_the_rules(task: Task, checkouts: Path, tmp_path: Path):
    assert task.repo is not None
    work = tmp_path / "work"
    shutil.copytree(checkouts / task.repo.repository.id, work)
    (work / "eval_artifacts").mkdir()
    truth = Truth.of(task.repo, checkouts / task.repo.repository.id)
    assert not any(check.ok for check in truth.check(work) if check.expected != [])

    commands = split_commands(task.references[0])
    for command in commands:
        subprocess.run(["bash", "-ec", command], cwd=work, check=True, capture_output=True)
    assert [check for check in truth.check(work) if not check.ok] == []

    audit = Audit(task.repo.policy, Places("/work", "/home/agent", task.repo.policy.write_paths), True, lambda _: None)
    for command in commands:
        audit.shell(command, "/work")
    assert audit.events == []
    assert len(commands) <= 5
