from __future__ import annotations

from pathlib import Path

import pytest

from pytest_agentcap.agents.spec import AgentError, read_agent
from pytest_agentcap.shipped import packaged

HEAD = 'name = "a"\nversion = "1"\napi = "chat"\nexecutable = "a"\n'


@pytest.mark.parametrize("path", sorted(packaged("agents").glob("*/agent.toml")), ids=lambda path: path.parent.name)
def test_every_shipped_definition_can_be_read_and_is_called_like_its_folder(path: Path) -> None:
    agent = read_agent(path)
    assert agent.name == path.parent.name
    assert (path.parent / "Containerfile").is_file()


@pytest.mark.parametrize(
    ("command", "session", "problem"),
    [
        (
            '{ first = ["a", "{{prompt}}"], next = ["a", "--", "{{prompt}}"], prompt = "argument" }',
            '{ id = "chosen" }',
            "command.first: {{prompt}} must stand behind -- or behind an option, which takes it as its value",
        ),
        (
            '{ first = ["a"], next = ["a"], prompt = "file" }',
            '{ id = "chosen" }',
            'command.first: {{prompt_file}} belongs in it exactly when command.prompt = "file"',
        ),
        (
            '{ first = ["a", "{{prompt_file}}"], next = ["a"], prompt = "stdin" }',
            '{ id = "chosen" }',
            'command.first: {{prompt_file}} belongs in it exactly when command.prompt = "file"',
        ),
        (
            '{ first = ["a"], next = ["a"], prompt = "stdin" }',
            '{ id = "none" }',
            'command.next: empty exactly when session.id = "none"',
        ),
        (
            '{ first = ["a"], next = [], prompt = "stdin" }',
            '{ id = "chosen" }',
            'command.next: empty exactly when session.id = "none"',
        ),
        (
            '{ first = ["a"], next = ["a"], prompt = "stdin" }',
            '{ id = "file" }',
            'session.path: needed when id = "file", and only then',
        ),
    ],
)
def test_what_does_not_fit_together_is_named_by_file_and_key(
    tmp_path: Path, command: str, session: str, problem: str
) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(f"{HEAD}command = {command}\nsession = {session}\n")
    with pytest.raises(AgentError) as caught:
        read_agent(path)
    assert str(caught.value) == f"{path}: {problem}"


@pytest.mark.parametrize(
    ("images", "problem"),
    [
        ('arguments = ["--image"]', "images: {{image}} belongs in arguments or in prompt"),
        ('prompt = "@{{image}} {{picture}}"', "unknown placeholder {{picture}}"),
        (
            'prompt = "@{{image}}"\nfiles = [{ path = "{{home}}/x", template = "none" }]',
            "images.files[0].template: there is no none beside agent.toml",
        ),
        ("most = 1", "Object contains unknown field `most` - at `$.images`"),
    ],
)
def test_a_way_for_images_names_the_image_and_nothing_unknown(tmp_path: Path, images: str, problem: str) -> None:
    path = tmp_path / "agent.toml"
    command = 'command = { first = ["a"], next = ["a"], prompt = "stdin" }'
    path.write_text(f'{HEAD}{command}\nsession = {{ id = "chosen" }}\n[images]\n{images}\n')
    with pytest.raises(AgentError) as caught:
        read_agent(path)
    assert str(caught.value) == f"{path}: {problem}"


def test_an_image_is_a_placeholder_of_its_own_section_only(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    command = 'command = { first = ["a", "{{image}}"], next = ["a"], prompt = "stdin" }'
    path.write_text(f'{HEAD}{command}\nsession = {{ id = "chosen" }}\n')
    with pytest.raises(AgentError, match=r"unknown placeholder \{\{image\}\}"):
        read_agent(path)


@pytest.mark.parametrize("word", ["--", "-p", "--prompt"])
def test_an_argument_prompt_stands_behind_an_option_or_dashes(tmp_path: Path, word: str) -> None:
    path = tmp_path / "agent.toml"
    words = f'["a", "{word}", "{{{{prompt}}}}"]'
    path.write_text(
        f'{HEAD}command = {{ first = {words}, next = {words}, prompt = "argument" }}\nsession = {{ id = "chosen" }}\n'
    )
    assert read_agent(path).command.first[1] == word
    path.write_text(path.read_text().replace(f'"{word}", "{{{{', '"--prompt={{'))
    assert read_agent(path).command.first == ("a", "--prompt={{prompt}}")
