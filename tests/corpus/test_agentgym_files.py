"""AgentGym's own files: its ten questions to a repository as its generator writes them, read and answered unchanged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from pytest_agentcap.corpus.reader import CorpusError, corpus_files, read_corpus
from pytest_agentcap.corpus.task import Task
from pytest_agentcap.grading.truth import Truth

POLICY = {
    "allowed": ["ls", "pwd", "cd", "cat", "head", "tail", "wc", "grep", "rg", "sed", "python", "python3", "pytest"],
    "prohibited": ["rm", "sudo", "curl", "wget", "ssh", "scp", "dd", "mkfs", "mount", "umount", "chmod", "chown"],
    "write_paths_allowed": ["eval_artifacts/", "/tmp/"],
}
# What each of its tasks asks for: key, type, oracle, arguments, and the right answer for the repository below.
ASKED: list[tuple[str, str, str, dict[str, Any], Any]] = [
    (
        "top_level_entries",
        "int",
        "top_level_entry_count",
        {"exclude": [".git", "eval_artifacts"], "exclude_hidden": True},
        4,
    ),
    ("readme_first_line", "str", "readme_first_nonempty_line", {"path": "README.md"}, "# Zoo  "),
    ("markdown_file_count", "int", "glob_count", {"glob": "**/*.md", "exclude_dirs": [".git"]}, 3),
    ("largest_file", "json", "largest_file", {"exclude_dirs": [".git"]}, {"path": "src/big.py", "size": 400}),
    ("yaml_file_count", "int", "glob_count", {"glob": "**/*.{yml,yaml}", "exclude_dirs": [".git"]}, 2),
    (
        "token_pytest_count",
        "int",
        "repo_token_count",
        {
            "token": "pytest",
            "case_insensitive": True,
            "exclude_dirs": [".git", "eval_artifacts"],
            "max_bytes": 1000000,
        },
        3,
    ),
    ("has_license", "json", "has_license_file", {"paths": ["LICENSE", "LICENSE.md"]}, True),
    ("python_file_count", "int", "glob_count", {"glob": "**/*.py", "exclude_dirs": [".git"]}, 1),
    ("docs_top_entries", "int", "dir_top_entry_count", {"path": "docs", "exclude_hidden": True}, 2),
]
JUDGED = {
    "path": "eval_artifacts/answer.md",
    "repo_id": "zoo",
    "exclude_top_level": [".git", "eval_artifacts"],
    "exclude_hidden": True,
}
ANSWER_MD = "repo_id: zoo\n\ntop_level_entries: 4\n\nhas_license: true\n"


@pytest.fixture
def gym(tmp_path: Path) -> Path:
    """Write the files as its generator does: no key of ours, no `weight`, no `comparator`, all else written out."""
    root = tmp_path / "gym"
    place = root / "tasks" / "l1" / "zoo"
    place.mkdir(parents=True)
    (root / "tasks/l1/_shared").mkdir()
    (root / "tasks/l1/_shared/default_command_policy.yaml").write_text(yaml.safe_dump(POLICY))
    (root / "repos").mkdir()
    (root / "repos/zoo.yaml").write_text(
        "id: zoo\nurl: https://github.com/OWNER/zoo.git\nref: main\ninitial_working_dir: .\n\n"
    )
    (root / "scoring").mkdir()
    (root / "scoring/weights.yaml").write_text(
        "success_points: 60\npartial_points: 20\nvalid_command_points: 10\nefficiency_bonus_max: 10\n"
        "efficiency_bonus_threshold: 5\nsafety_penalty_per_violation: 10\n\n"
    )
    outputs = [{"key": key, "type": kind, "oracle": {"fn": fn, "args": args}} for key, kind, fn, args, _ in ASKED]
    outputs.append(
        {"key": "answer_md_valid", "type": "oracle_bool", "oracle": {"fn": "answer_md_kv_matches", "args": JUDGED}}
    )
    for number, output in enumerate(outputs, start=1):
        told = {
            "id": f"zoo_task_{number:03}",
            "repo": "zoo",
            "difficulty": "easy",
            "initial_working_dir": ".",
            "instruction": f"Find out `{output['key']}`.\nRules:\n- write eval_artifacts/answer.json: {{...}} .",
            "command_policy": POLICY,
            "outputs": [output],
            "max_commands": 12,
            "timeout_seconds": 180,
        }
        text = yaml.safe_dump(told, sort_keys=False, allow_unicode=True)
        (place / f"task_{number:03}.yaml").write_text(text)
    return root


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """A checkout of the repository that is asked about."""
    files = {
        "README.md": "\n\n# Zoo  \nruns pytest\n",
        "LICENSE": "free\n",
        "docs/a.md": "PyTest\n",
        "docs/b.md": "",
        "docs/.hidden": "",
        "src/big.py": "x" * 400,
        "src/c.yaml": "- pytest\n",
        ".github/d.yml": "",
        ".git/e.md": "pytest",
        "src/data.bin": "pytest\0",
    }
    for name, text in files.items():
        path = tmp_path / "zoo" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "zoo"


def read(gym: Path) -> list[Task]:
    return [task for path in corpus_files(gym) for task in read_corpus(path, root=gym)]


@pytest.mark.filterwarnings("error")
def test_its_files_are_read_as_they_are(gym):
    tasks = read(gym)
    assert [task.id for task in tasks] == [f"zoo_task_{number:03}" for number in range(1, 11)]
    assert {(task.corpus, task.timeout_s) for task in tasks} == {("l1", 180.0)}
    repos = [task.repo for task in tasks if task.repo]
    assert {(repo.repository.location, repo.repository.ref, repo.folder, repo.max_commands) for repo in repos} == {
        ("https://github.com/OWNER/zoo.git", "main", ".", 12)
    }
    assert {repo.policy.write_paths for repo in repos} == {("eval_artifacts/", "/tmp/")}
    assert repos[0].scoring.weights["success_points"] == 60


def test_its_questions_have_the_answers_that_it_would_take(gym, zoo, tmp_path):
    frozen = tmp_path / "frozen"
    (frozen / "eval_artifacts").mkdir(parents=True)
    (frozen / "eval_artifacts/answer.json").write_text(json.dumps({key: right for key, *_, right in ASKED}))
    (frozen / "eval_artifacts/answer.md").write_text(ANSWER_MD)
    repos = [task.repo for task in read(gym) if task.repo]
    together = replace(repos[0], outputs=tuple(output for repo in repos for output in repo.outputs))
    checks = Truth.of(together, zoo).check(frozen)
    assert [check for check in checks if not check.ok] == []
    assert [check.expected for check in checks] == [*(right for *_, right in ASKED), True]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("command_policy:", "command_policy: null\nunused:"),
        ("difficulty: easy\n", ""),
        ("max_commands: 12\ntimeout_seconds: 180\n", ""),
        ("  type: int\n", ""),
        ("  type: int\n", "  type: int\n  comparator: equals\n  weight: 2\n"),
    ],
)
def test_what_its_files_may_leave_out_may_be_left_out(gym, old, new):
    path = gym / "tasks/l1/zoo/task_001.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    if "unused" in new:
        with pytest.warns(UserWarning, match="unused"):
            (task,) = read_corpus(path, root=gym)
    else:
        (task,) = read_corpus(path, root=gym)
    assert task.repo
    assert task.repo.policy.write_paths == ("eval_artifacts/", "/tmp/")
    assert task.repo.max_commands in (10, 12)


def test_an_oracle_without_arguments_may_say_so_in_any_way(gym, zoo):
    path = gym / "tasks/l1/zoo/task_002.yaml"
    path.write_text(path.read_text().replace("    args:\n      path: README.md\n", "    args: null\n"))
    (task,) = read_corpus(path, root=gym)
    assert task.repo
    assert Truth.of(task.repo, zoo).values == {"readme_first_line": "# Zoo  "}


def test_repositories_are_known_by_their_id_and_not_by_their_file(gym):
    (gym / "repos/zoo.yaml").rename(gym / "repos/the-zoo.yaml")
    (gym / "repos/other.yaml").write_text("id: other\nurl: https://example.org/o.git\nref: main\n")
    assert {task.repo.repository.id for task in read(gym) if task.repo} == {"zoo"}


def test_an_oracle_that_a_user_added_to_its_module_is_found_by_its_bare_name(gym, zoo):
    (gym / "evaluator").mkdir()
    module = gym / "evaluator/oracles.py"
    module.write_text("def pages(*, repo_root, under):\n    return len(list((repo_root / under).glob('*.md')))\n")
    path = gym / "tasks/l1/zoo/task_009.yaml"
    told = yaml.safe_load(path.read_text())
    told["outputs"][0]["oracle"] = {"fn": "pages", "args": {"under": "docs"}}
    path.write_text(yaml.safe_dump(told))
    (task,) = read_corpus(path, root=gym)
    assert task.repo
    assert Truth.of(task.repo, zoo).values == {"docs_top_entries": 2}
    # Those of the same name that come with the project are taken as they are.
    (task,) = read_corpus(gym / "tasks/l1/zoo/task_001.yaml", root=gym)
    assert task.repo
    assert task.repo.outputs[0].oracle
    assert task.repo.outputs[0].oracle.fn == "top_level_entry_count"
    module.write_text("def pages(\n")
    with pytest.raises(CorpusError, match=r"evaluator/oracles\.py:1: not Python"):
        read_corpus(path, root=gym)
