"""The corpus nl2bash: its tree, and what its gold commands print and leave."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from pytest_agentcap.corpus.reader import read_corpus
from pytest_agentcap.sandbox.tree_digest import tree_digest

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "corpora" / "nl2bash"
TASKS = read_corpus(CORPUS / "prompts.jsonl", root=ROOT)
TOOL = ROOT / "tools" / "generate-fixture"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"nl2bash_{name}", CORPUS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GRADER, FIXTURE = load("grader"), load("fixture")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nl2bash") / "testdata"
    folder.mkdir()
    FIXTURE.make_tree(folder)
    return folder


def run(script: str, tree: Path, cwd: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC"}
    subprocess.run(["bash", "-c", script.replace("/testdata", str(tree))], cwd=cwd, env=environment, check=True)
    output = cwd / "output.txt"
    if output.exists():
        output.write_text(output.read_text().replace(str(tree), "/testdata"))


def grade(task, cwd: Path) -> dict:
    return GRADER.grade(metadata=task.metadata, cwd=str(cwd))


def test_there_are_more_than_sixty_tasks_each_with_its_gold_command_and_source():
    assert len(TASKS) >= 60
    assert all(task.metadata["gold"] and task.metadata["source"] and task.metadata["licence"] for task in TASKS)
    assert all(task.metadata["stdout"] is not None or task.metadata["state"] for task in TASKS)


def test_the_tree_is_the_one_that_the_corpus_was_written_for(tree):
    assert FIXTURE.tree_digest(tree) == FIXTURE.DIGEST
    # What runs tell of it.
    assert tree_digest(tree) == FIXTURE.DIGEST


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.id)
def test_a_reference_does_what_its_task_expects_and_nothing_does_not(task, tree, tmp_path):
    assert not grade(task, tmp_path)["pass"]
    (script,) = task.references
    run(script, tree, tmp_path)
    told = grade(task, tmp_path)
    assert told["pass"], told["reasoning"]


def test_a_tree_that_was_changed_is_found_out(tree, tmp_path):
    changed = tmp_path / "testdata"
    subprocess.run(["cp", "-a", tree, changed], check=True)
    (changed / "testbed/words.txt").chmod(0o600)
    done = subprocess.run([sys.executable, TOOL, "--check", changed], capture_output=True, text=True)
    assert done.returncode == 1
    assert FIXTURE.DIGEST in done.stderr


def test_what_is_expected_is_what_the_gold_commands_do(tmp_path):
    # The tool rewrites its own corpus: it is given a copy of both.
    for name in ("tools", "corpora"):
        (tmp_path / name).mkdir()
    (tmp_path / "tools/generate-fixture").write_bytes(TOOL.read_bytes())
    subprocess.run(["cp", "-r", CORPUS, tmp_path / "corpora"], check=True)
    subprocess.run([sys.executable, tmp_path / "tools/generate-fixture", "--expect"], check=True, capture_output=True)
    made, kept = (
        [json.loads(line) for line in (root / "corpora/nl2bash/prompts.jsonl").read_text().splitlines()]
        for root in (tmp_path, ROOT)
    )
    assert [task["metadata"]["state"] for task in made] == [task["metadata"]["state"] for task in kept]
    # find lists files in the order of the file system.
    pairs = [(a["metadata"], b["metadata"]["stdout"]) for a, b in zip(made, kept, strict=True)]
    assert all(a["stdout"] == b or GRADER.same(b, a["stdout"], ordered=a["ordered"]) for a, b in pairs)


def test_links_and_giant_files_are_no_answers(tmp_path):
    answer = next(task for task in TASKS if task.id == "link-target")
    (tmp_path / "elsewhere").write_text(answer.metadata["stdout"])
    (tmp_path / "output.txt").symlink_to("elsewhere")
    assert not grade(answer, tmp_path)["pass"]


def test_the_execute_bit_is_part_of_the_state(tmp_path):
    task = next(task for task in TASKS if task.id == "make-executable")
    (tmp_path / "run.sh").write_text("not a program\n")
    assert not grade(task, tmp_path)["pass"]
    (tmp_path / "run.sh").chmod(0o755)
    assert grade(task, tmp_path)["pass"]


def test_the_host_sandbox_says_that_it_cannot_have_the_tree(project):
    project.pytest("--agent", "loop", "--sandbox", "host", str(CORPUS), "-k", "link-target").assert_outcomes(failed=1)
    [result] = project.results()
    assert result["verdict"] == "infra"
    assert "only a container can have /testdata; use --sandbox podman" in result["reason"]
