from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from pytest_agentcap.corpus.reader import corpus_files, read_corpus
from pytest_agentcap.corpus.task import Task
from pytest_agentcap.grading.base import GraderInput, GraderResult
from pytest_agentcap.grading.find import load_grader

CORPORA = Path(__file__).parents[2] / "corpora"
QUICKSTART = read_corpus(CORPORA / "quickstart" / "prompts.jsonl", root=CORPORA)
CHECKED_BY_PATTERN = {"test_roman.py", "unittest.log"}
SHIPPED = sorted(path for path in CORPORA.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder


def steps(task: Task) -> list[str]:
    (reference,) = task.references
    return re.split(r"\n\s*\n", reference.strip())


def run(script: str, workspace: Path) -> None:
    subprocess.run(["bash", "-e", "-o", "pipefail", "-c", script], cwd=workspace, check=True, stdin=subprocess.DEVNULL)


def solve(task: Task, workspace: Path) -> None:
    for step in steps(task):
        run(step, workspace)


def grade(task: Task, workspace: Path) -> GraderResult:
    grader = load_grader("quickstart/grader.py", base=CORPORA)
    return grader.grade(
        GraderInput(
            input=task.prompt,
            output="Done.",
            cwd=workspace,
            task_id=task.id,
            hint=task.hint,
            metadata=task.metadata,
        )
    )


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_corpus_reads_and_describes_itself(folder: Path) -> None:
    tasks = [task for path in corpus_files(folder) for task in read_corpus(path, root=CORPORA)]

    assert {task.corpus for task in tasks} == {"small" if tasks[0].repo else folder.name}
    assert (folder / "README.md").read_text(encoding="utf-8").startswith(f"# {folder.name}\n")


@pytest.mark.parametrize("name", ["transformers", "hf-hub"])
def test_text_corpora_hold_thirty_different_prompts(name: str) -> None:
    tasks = read_corpus(CORPORA / name / "tasks.txt", root=CORPORA)

    assert len({task.prompt for task in tasks}) == len(tasks) == 30


def test_quickstart_holds_eight_tasks_with_all_that_grading_needs() -> None:
    assert len(QUICKSTART) == 8
    assert all(task.references and task.hint and task.metadata["files"] for task in QUICKSTART)
    assert all(len(steps(task)) >= 2 for task in QUICKSTART)


@pytest.mark.parametrize("task", QUICKSTART, ids=lambda task: task.id)
def test_no_reference_uses_command_substitution_which_some_agents_refuse(task: Task) -> None:
    assert not re.search(r"`|[$<>]\(", task.references[0])


@pytest.mark.parametrize("task", QUICKSTART, ids=lambda task: task.id)
def test_a_reference_solves_its_task_run_as_one_script(task: Task, workspace: Path) -> None:
    run(task.references[0], workspace)

    result = grade(task, workspace)

    assert result.passed, result.reasoning
    assert result.score == 1.0


@pytest.mark.parametrize("task", QUICKSTART, ids=lambda task: task.id)
def test_a_reference_solves_its_task_step_by_step_in_fresh_shells(task: Task, workspace: Path) -> None:
    solve(task, workspace)

    assert grade(task, workspace).passed


@pytest.mark.parametrize("task", QUICKSTART, ids=lambda task: task.id)
def test_an_empty_workspace_fails_without_a_point(task: Task, workspace: Path) -> None:
    result = grade(task, workspace)

    assert (result.passed, result.score) == (False, 0.0)
    assert "is missing" in (result.reasoning or "")


@pytest.mark.parametrize("task", QUICKSTART, ids=lambda task: task.id)
def test_the_first_step_alone_is_half_done_and_fails(task: Task, workspace: Path) -> None:
    run(steps(task)[0], workspace)

    assert not grade(task, workspace).passed


@pytest.mark.parametrize("task", QUICKSTART, ids=lambda task: task.id)
def test_each_file_counts(task: Task, workspace: Path) -> None:
    solve(task, workspace)
    kept = workspace / "kept-elsewhere"
    for name in task.metadata["files"]:
        path = workspace / name
        path.rename(kept)
        path.symlink_to(kept)
        linked = grade(task, workspace)
        path.unlink()
        path.write_bytes(kept.read_bytes() + b"\n)one thing too much(\n")
        changed = grade(task, workspace)
        kept.replace(path)

        assert linked.reasoning is not None
        assert f"{name} is a link" in linked.reasoning
        assert 0 < linked.score < 1
        assert changed.passed is (name in CHECKED_BY_PATTERN)


@pytest.mark.parametrize("task", QUICKSTART, ids=lambda task: task.id)
def test_harmless_differences_pass(task: Task, workspace: Path) -> None:
    solve(task, workspace)
    for name, checks in task.metadata["files"].items():
        path = workspace / name
        if "bytes" not in checks:
            path.write_bytes(path.read_bytes().rstrip(b"\n").replace(b"\n", b" \r\n") + b"\n\n")

    result = grade(task, workspace)

    assert result.passed, result.reasoning


def test_the_grader_never_runs_what_the_agent_wrote(workspace: Path, tmp_path: Path) -> None:
    task = next(task for task in QUICKSTART if task.id == "slugify-module")
    solve(task, workspace)
    planted = f"open({str(tmp_path / 'planted')!r}, 'w').close()\n"
    with (workspace / "slug.py").open("a") as module:
        module.write(planted)
    (workspace / "json.py").write_text(planted)

    assert grade(task, workspace).passed
    assert not (tmp_path / "planted").exists()
