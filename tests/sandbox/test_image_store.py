from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_agentcap.cli import main
from pytest_agentcap.sandbox.base import SandboxError
from pytest_agentcap.sandbox.image_store import image_states, prune_images
from pytest_agentcap.sandbox.images import HASH_LABEL, base_folder, content_hash

SCRIPT = """
case "$*" in
    "image ls --filter label=agentcap.containerfile-hash --format json") cat {images} ;;
    "image rm used-0123456789"*) echo 'Error: image is in use' >&2; exit 2 ;;
    image\\ rm\\ *) echo removed ;;
    *) exit 9 ;;
esac
"""


def image(name: str | None, content: str, number: str = "0123456789abcdef") -> dict[str, object]:
    names = [f"localhost/agentcap-{name}:latest"] if name else None
    return {"Id": number, "Names": names, "Size": 3 << 20, "Created": 1_700_000_000, "Labels": {HASH_LABEL: content}}


@pytest.fixture
def agents(tmp_path: Path) -> dict[str, Path]:
    folders = {name: tmp_path / "agents" / name for name in ("new", "old", "none")}
    for name, folder in folders.items():
        folder.mkdir(parents=True)
        (folder / "Containerfile").write_text(f"FROM x\nRUN {name}\n")
    return folders


@pytest.fixture
def store(tmp_path: Path, agents: dict[str, Path], fake_podman) -> Path:
    images = [
        image("base", content_hash(base_folder(), {})),
        image("new", content_hash(agents["new"], {})),
        image("old", "another hash"),
        image("of-another-project", "some hash"),
        image("task-add-0a1b2c3d-pi", "some hash"),
        image("task-add-0a1b2c3d", "some hash"),
        image("task-runner", "of an agent that is not here"),
        image(None, "replaced", "dangling-0123456789"),
        image(None, "replaced", "used-0123456789"),
    ]
    (tmp_path / "images.json").write_text(json.dumps(images))
    calls: Path = fake_podman(SCRIPT.replace("{images}", str(tmp_path / "images.json")))
    return calls


def test_images_are_current_outdated_or_absent(agents: dict[str, Path], store: Path) -> None:
    states = image_states(agents)
    assert [(each.name, each.state) for each in states] == [
        ("base", "current"),
        ("new", "current"),
        ("old", "outdated"),
        ("none", "absent"),
        ("task-add-0a1b2c3d-pi", "task"),
        ("task-add-0a1b2c3d", "task"),
    ]
    assert (states[1].size, states[1].created, states[3].size) == (3 << 20, 1_700_000_000, None)


def test_pruning_removes_ours_that_are_outdated_or_replaced_and_nothing_else(
    agents: dict[str, Path], store: Path
) -> None:
    removed, kept = prune_images(agents)
    assert removed == ["localhost/agentcap-old:latest", "dangling-012"]
    assert kept == ["used-0123456 is kept: podman image failed: Error: image is in use"]
    asked = [line for line in store.read_text().splitlines() if line.startswith("image rm")]
    assert asked == [
        "image rm localhost/agentcap-old:latest",
        "image rm dangling-0123456789",
        "image rm used-0123456789",
    ]


def test_images_of_tasks_are_removed_when_that_is_asked_for_what_stands_on_one_before_it(
    agents: dict[str, Path], store: Path
) -> None:
    removed, _ = prune_images(agents, tasks=True)
    of_task = ["localhost/agentcap-task-add-0a1b2c3d-pi:latest", "localhost/agentcap-task-add-0a1b2c3d:latest"]
    assert removed[:3] == [*of_task, "localhost/agentcap-old:latest"]


def test_the_command_lists_and_prunes(
    agents: dict[str, Path], store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    definition = 'name = "old"\nversion = "1"\napi = "chat"\nexecutable = "sh"\n'
    definition += '[command]\nfirst = ["sh"]\nnext = ["sh"]\nprompt = "stdin"\n[session]\nid = "chosen"\n'
    (agents["old"] / "agent.toml").write_text(definition)
    monkeypatch.chdir(tmp_path)
    assert main(["images", "ls"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "STATE", "SIZE", "CREATED", "IMAGE"]
    (row,) = [line.split() for line in lines if line.startswith("old ")]
    assert row == ["old", "outdated", "3", "MiB", "2023-11-14", "22:13", "localhost/agentcap-old:latest"]
    assert main(["images", "ls", "--json"]) == 0
    listed = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert (listed["pi"]["state"], listed["pi"]["size"]) == ("absent", None)
    assert listed["task-add-0a1b2c3d"]["state"] == "task"
    assert main(["images", "prune"]) == 1
    said = capsys.readouterr()
    assert "task-" not in said.out
    assert "removed localhost/agentcap-old:latest" in said.out
    assert "used-0123456 is kept" in said.err


@pytest.mark.parametrize(("words", "said"), [((), "name agents, or pass --all"), (("nobody",), "no agent is called")])
def test_a_build_of_nothing_known_is_refused(words: tuple[str, ...], said: str, capsys) -> None:
    assert main(["images", "build", *words]) == 2
    assert said in capsys.readouterr().err


def test_an_absent_podman_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxError, match="podman is not installed"):
        image_states({})
    assert main(["images", "ls"]) == 2
    assert "podman is not installed" in capsys.readouterr().err
