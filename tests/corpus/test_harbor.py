"""Harbor's task folders are read as they are; what is in them is not for pytest."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_agentcap.corpus.harbor import is_part_of_task
from pytest_agentcap.corpus.reader import CorpusError, corpus_files, corpus_name, read_corpus
from pytest_agentcap.grading.verifier import read_reward, speaks_of_reward
from pytest_agentcap.preparing import options_for, verifier_for
from pytest_agentcap.sandbox.base import SandboxError, SandboxOptions
from pytest_agentcap.sandbox.task_image import task_sandbox, whole_name
from pytest_agentcap.upstream.script import split_commands

SEPARATE = "[verifier]\nenvironment_mode = 'separate'\n"
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
    container = harbor.container
    assert (harbor.verifier_timeout_s, harbor.verifier_env) == (30, {"MODE": "strict"})
    # The Dockerfile is there, and counts more.
    assert (container.image, container.build_timeout_s, container.env) == (None, 120.5, {"A": "1"})
    assert (container.cpus, container.memory, container.storage, harbor.allow_internet) == (2, "2048m", "10G", False)


def test_a_solution_is_acted_out_in_one_shell(folder):
    (task,) = read_corpus(folder / "task.toml", root=folder)
    (command,) = split_commands(task.references[0])
    assert command.startswith("cat > /solution/solve.sh <<'")
    assert "\ncd /app\n\nx=1\n\necho $x\n" in command
    assert command.endswith("""\nexport WHAT='it'"'"'s'\nbash /solution/solve.sh""")


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
    assert task.harbor.container.image == "example.org/x"


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


def test_each_phase_may_have_a_network_mode_of_its_own(folder):
    text = "[environment]\nnetwork_mode = 'no-network'\n[verifier]\nnetwork_mode = 'public'\n"
    (folder / "task.toml").write_text(text)
    (task,) = read_corpus(folder / "task.toml", root=folder)
    assert task.harbor
    assert (task.harbor.allow_internet, task.harbor.verifier_internet) == (False, True)
    assert options_for(task, SandboxOptions(network="open")).network == "model"
    (grader,) = verifier_for(task, None, SandboxOptions(network="open"), folder / "log")
    assert grader.options.network == "open"


def test_a_verifiers_own_environment_says_what_the_verifier_may(folder):
    text = "[verifier.environment]\nnetwork_mode = 'no-network'\nenv = {A = '1', B = '1'}\n[verifier.env]\nB = '2'\n"
    (folder / "task.toml").write_text(text)
    (task,) = read_corpus(folder / "task.toml", root=folder)
    assert task.harbor
    assert (task.harbor.allow_internet, task.harbor.verifier_internet) == (True, False)
    assert (task.harbor.verifier_env, task.harbor.hindrance) == ({"A": "1", "B": "2"}, None)


@pytest.mark.parametrize(
    ("text", "names", "image", "has_tests", "given"),
    [
        (SEPARATE, ("tests/Dockerfile",), "tests", True, ("/logs/artifacts",)),
        (f"artifacts = ['/app/']\n{SEPARATE}", (), "environment", False, ("/logs/artifacts", "/app")),
        (
            "[verifier.environment]\ndocker_image = 'x'\n[[artifacts]]\nsource = '/out'\n",
            ("tests/Dockerfile",),
            "x",
            True,
            ("/logs/artifacts", "/out"),
        ),
    ],
)
def test_a_separate_verifier_has_a_container_of_its_own(folder, text, names, image, has_tests, given):
    (folder / "task.toml").write_text(text)
    for name in names:
        (folder / name).write_text("FROM scratch\n")
    (task,) = read_corpus(folder / "task.toml", root=folder)
    assert task.harbor
    assert task.harbor.hindrance is None
    separate = task.harbor.separate
    assert separate
    assert (separate.container.image or separate.container.folder.name, separate.has_tests) == (image, has_tests)
    assert separate.container.given == task.harbor.container.given == given


def test_a_dockerfile_of_tests_is_nothing_of_a_verifier_that_is_not_separate(folder):
    (folder / "tests/Dockerfile").write_text("FROM scratch\n")
    (task,) = read_corpus(folder / "task.toml", root=folder)
    assert task.harbor
    assert (task.harbor.hindrance, task.harbor.separate) == (None, None)


def test_a_working_directory_counts_more_than_the_images(folder):
    (folder / "task.toml").write_text("[environment]\nworkdir = '/srv/x'\n")
    (task,) = read_corpus(folder / "task.toml", root=folder)
    assert task.harbor
    assert task.harbor.container.workdir == "/srv/x"
    assert task.timeout_s is None
    for table in ("environment", "verifier.environment"):
        (folder / "task.toml").write_text(f"[{table}]\nworkdir = 'x'\n")
        with pytest.raises(CorpusError, match=rf"task\.toml:1: `{table}\.workdir` is no folder of a container"):
            read_corpus(folder / "task.toml", root=folder)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[environment]\ngpus = 1", "it asks for GPUs"),
        ("[environment]\ntpu = {type = 'v4', topology = '2x2'}", "it asks for TPUs"),
        ("[environment]\nos = 'Windows'", "it is for Windows"),
        ("[environment]\nskills_dir = '/skills'", "it brings skills"),
        ("[environment.healthcheck]\ncommand = 'true'", "it runs a command before agent or verifier"),
        ("[[environment.mcp_servers]]\nname = 'x'\nurl = 'http://x'", "it brings MCP servers"),
        ("[[verifier.collect]]\ncommand = 'dump'", "it runs commands after the agent"),
        ("[verifier.environment]\ngpus = 1", "it asks for GPUs"),
        (f"artifacts = ['out']\n{SEPARATE}", "its verifier is given `out`, which is no path"),
        (f"artifacts = ['/']\n{SEPARATE}", "its verifier is given `/`, which is no path"),
        (f"artifacts = [{{source = '/x', exclude = ['*.o']}}]\n{SEPARATE}", "its verifier is given `/x` without some"),
        (f"artifacts = [{{source = '/x', service = 'db'}}]\n{SEPARATE}", "its verifier is given `/x` of another"),
        ("[verifier.env]\nKEY = '${SECRET:-x}'", "`verifier.env.KEY` is to come from this machine's"),
        ("[environment.env]\nKEY = '${SECRET}'", "`environment.env.KEY` is to come from this machine's"),
    ],
)
def test_what_no_sandbox_can_do_is_told_when_it_is_to_run(folder, text, said):
    (folder / "task.toml").write_text(text)
    assert said in hindrance_of(folder)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("environment/docker-compose.yaml", "", "it needs several containers"),
        ("tests/docker-compose.yaml", SEPARATE, "its verifier needs several containers"),
        ("trajectory.json", "", "it goes on from a conversation"),
    ],
)
def test_so_is_what_files_beside_it_ask_for(folder, name, text, said):
    (folder / "task.toml").write_text(text)
    (folder / name).write_text("{}\n")
    # A task that cannot be run here need not be whole by the rules of those that can.
    (folder / "environment/Dockerfile").unlink()
    assert said in hindrance_of(folder)


def test_steps_are_collected_and_told(folder, project):
    (folder / "task.toml").write_text("[[steps]]\nname = 'first'\n[[steps]]\nname = 'second'\n")
    (folder / "instruction.md").unlink()
    for name in ("first", "second"):
        (folder / "steps" / name / "tests").mkdir(parents=True)
        (folder / "steps" / name / "instruction.md").write_text(f"Do the {name}.\n")
        (folder / "steps" / name / "tests/test_it.py").write_text("def test_it(): pass\n")
    assert len(project.ids(str(folder.parent))) == 1
    (task,) = read_corpus(folder / "task.toml", root=folder)
    assert task.prompts == ("Do the first.", "Do the second.")
    assert "it has several steps" in hindrance_of(folder)


def hindrance_of(folder: Path) -> str:
    (task,) = read_corpus(folder / "task.toml", root=folder)
    assert task.harbor
    with pytest.raises(SandboxError, match="first-task cannot be run here: ") as caught:
        task_sandbox(task.harbor, "podman", "loop", folder, "unix:///none", None)
    return str(caught.value)


@pytest.mark.parametrize("text", ["[agent]\ntimeout_sec = 'soon'\n", "[agent\n"])
def test_a_task_file_that_is_wrong_is_told(folder, text):
    (folder / "task.toml").write_text(text)
    with pytest.raises(CorpusError, match=r"task\.toml:1: cannot be read as a task"):
        read_corpus(folder / "task.toml", root=folder)


@pytest.mark.parametrize(
    ("files", "reward"),
    [
        ({"reward.txt": "1\n"}, 1.0),
        ({"reward.txt": " .25"}, 0.25),
        ({"reward.json": '{"reward": 0.5, "style": 1, "why": "late"}'}, 0.5),
        ({"reward.json": '{"reward": false}'}, 0.0),
        ({"reward.json": '{"tests": 0.5}'}, 0.5),
        ({"reward.json": '{"tests": 0, "speedup": 12.5}'}, 0.5),
        ({"reward.json": '{"reward": 0}', "reward.txt": "1"}, 0.0),
        ({"reward.json": '{"tests": 1, "style": 1}', "reward.txt": "0"}, 0.0),
        ({"other.txt": "1"}, None),
    ],
)
def test_rewards_are_numbers(tmp_path, files, reward):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert read_reward(tmp_path)[0] == reward


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("reward.txt", "true", "reward.txt holds no number: 'true'"),
        ("reward.txt", "NaN", "reward.txt holds no number"),
        ("reward.txt", "", "reward.txt holds no number"),
        ("reward.json", "", "reward.json is not JSON"),
        ("reward.json", "{}", "reward.json holds no reward"),
        ("reward.json", '{"tests": 1, "style": null}', "reward.json holds no number: 'None'"),
    ],
)
def test_a_reward_that_cannot_be_read_is_no_verdict(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=said):
        read_reward(tmp_path)


def test_tests_that_name_a_reward_file_owe_one(folder):
    assert not speaks_of_reward(folder / "tests")
    (folder / "tests/test_outputs.py").write_text("open('/logs/verifier/reward.json', 'w')\n")
    assert speaks_of_reward(folder / "tests")
