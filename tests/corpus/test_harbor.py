"""Harbor's task folders are read as they are; what is in them is not for pytest."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_agentcap.corpus.harbor import is_part_of_task
from pytest_agentcap.corpus.reader import CorpusError, corpus_files, corpus_name, read_corpus
from pytest_agentcap.grading.verifier import read_reward
from pytest_agentcap.sandbox.base import SandboxError
from pytest_agentcap.sandbox.task_image import task_sandbox, whole_name
from pytest_agentcap.upstream.script import split_commands

FILES = {
    "task.toml": """
version = "1.0"
[metadata]
difficulty = "hard"
[agent]
timeout_sec = 900.5
[verifier]
timeout_sec = 30
env = {MODE = "strict"}
[environment]
cpus = 2
memory_mb = 2048
storage = "10G"
allow_internet = false
docker_image = "example.org/x"
build_timeout_sec = 120.5
gpus = 0
env = {A = "1"}
[solution.env]
WHAT = "it's"
""",
    "instruction.md": "Do it.\n",
    "environment/Dockerfile": "FROM scratch\n",
    "tests/test.sh": "exit 0\n",
    "tests/test_outputs.py": "def test_it(): raise AssertionError\n",
    "solution/solve.sh": "cd /app\n\nx=1\n\necho $x\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "bench" / "first-task" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "bench" / "first-task"


def test_a_task_folder_is_one_task_named_after_it(folder):
    (path,) = corpus_files(folder.parent)
    (task,) = read_corpus(path, root=folder.parent)
    assert (task.id, task.corpus, task.index, task.prompt) == ("first-task", "bench", 1, "Do it.")
    assert (task.timeout_s, task.metadata) == (900.5, {"difficulty": "hard"})
    assert corpus_name(path) == "bench"
    harbor = task.harbor
    assert harbor is not None
    assert (harbor.verifier_timeout_s, harbor.verifier_env) == (30, {"MODE": "strict"})
    # The Dockerfile is there, and counts more.
    assert (harbor.image, harbor.build_timeout_s, harbor.env) == (None, 120.5, {"A": "1"})
    assert (harbor.cpus, harbor.memory, harbor.storage, harbor.allow_internet) == (2, "2048m", "10G", False)


def test_a_solution_is_acted_out_in_one_shell(folder):
    (task,) = read_corpus(folder / "task.toml", root=folder)
    (command,) = split_commands(task.references[0])
    assert """export WHAT='it'"'"'s'\ncd /app\n\nx=1\n\necho $x""" in command


def test_parts_of_a_task_are_not_collected(folder, project):
    assert is_part_of_task(folder / "tests")
    assert not is_part_of_task(folder.parent / "tests")
    lines = project.ids(str(folder.parent))
    assert len(lines) == 1
    assert lines[0].endswith("task.toml::test_task[loop-scripted-first-task]")


def test_without_containers_a_task_with_an_image_fails_with_one_line(folder, project):
    done = project.capture(str(folder))
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*first-task brings its own image: use --sandbox podman*"])


@pytest.mark.parametrize("name", ["environment/Dockerfile", "tests/test.sh"])
def test_a_part_that_is_missing_is_named(folder, name):
    (folder / name).unlink()
    (folder / "task.toml").write_text(FILES["task.toml"].replace('docker_image = "example.org/x"', ""))
    with pytest.raises(CorpusError, match=rf"task\.toml:1: there is no {name} beside it"):
        read_corpus(folder / "task.toml", root=folder)


def test_a_named_image_stands_in_the_place_of_a_dockerfile(folder):
    (folder / "environment/Dockerfile").unlink()
    (task,) = read_corpus(folder / "task.toml", root=folder)
    assert task.harbor
    assert task.harbor.image == "example.org/x"


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("debian", "docker.io/library/debian"),
        ("me/task:1", "docker.io/me/task:1"),
        ("example.org/x@sha256:0", "example.org/x@sha256:0"),
        ("localhost/x", "localhost/x"),
        ("host:5000/x", "host:5000/x"),
    ],
)
def test_images_are_named_with_their_registry(name, whole):
    assert whole_name(name) == whole


@pytest.mark.parametrize(
    ("old", "new", "online"),
    [
        ("allow_internet = false", "allow_internet = true", True),
        ("allow_internet = false", "network_mode = 'public'", True),
        ("allow_internet = false", "network_mode = 'no-network'", False),
        ("allow_internet = false", "network_mode = 'allowlist'", False),
    ],
)
def test_the_network_is_told_by_either_key(folder, old, new, online):
    (folder / "task.toml").write_text(FILES["task.toml"].replace(old, new))
    (task,) = read_corpus(folder / "task.toml", root=folder)
    assert task.harbor
    assert task.harbor.allow_internet is online


@pytest.mark.parametrize("table", ["verifier", "environment"])
def test_a_value_of_this_machine_goes_into_no_container(folder, table):
    text = re.sub(r"env = \{.*\}", "", FILES["task.toml"]) + f"[{table}.env]\nKEY = '${{SECRET:-x}}'\n"
    (folder / "task.toml").write_text(text)
    with pytest.raises(CorpusError, match=rf"task\.toml:1: `{table}\.env\.KEY` is to come from this machine's"):
        read_corpus(folder / "task.toml", root=folder)


@pytest.mark.parametrize(("name", "said"), [("gpus", "asks for GPUs"), ("compose", "needs several containers")])
def test_what_no_sandbox_can_be_is_told_when_it_is_to_run(folder, name, said):
    if name == "gpus":
        (folder / "task.toml").write_text(FILES["task.toml"].replace("gpus = 0", "gpus = 1"))
    else:
        (folder / "environment/docker-compose.yaml").write_text("services: {}\n")
    (task,) = read_corpus(folder / "task.toml", root=folder)
    assert task.harbor
    with pytest.raises(SandboxError, match=rf"first-task cannot be run here: it {said}"):
        task_sandbox(task.harbor, "podman", "loop", folder, "unix:///none", None)


@pytest.mark.parametrize("text", ["[agent]\ntimeout_sec = 'soon'\n", "[agent\n"])
def test_a_task_file_that_is_wrong_is_told(folder, text):
    (folder / "task.toml").write_text(text)
    with pytest.raises(CorpusError, match=r"task\.toml:1: cannot be read as a task"):
        read_corpus(folder / "task.toml", root=folder)


@pytest.mark.parametrize(
    ("name", "text", "reward"),
    [
        ("reward.txt", "1\n", 1.0),
        ("reward.txt", "0.25", 0.25),
        ("reward.txt", "true", None),
        ("reward.txt", "NaN", None),
        ("reward.txt", "", None),
        ("reward.json", '{"reward": 0.5, "style": 1}', 0.5),
        ("reward.json", '{"tests": 0.5}', 0.5),
        ("reward.json", '{"tests": 0.5, "style": 1}', None),
        ("other.txt", "1", None),
    ],
)
def test_rewards_are_numbers_or_there_is_none(tmp_path, name, text, reward):
    (tmp_path / name).write_text(text)
    assert read_reward(tmp_path)[0] == reward
