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


PLAIN = 'command = { first = ["a"], next = ["a"], prompt = "stdin" }\n'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("colour = 1", "Object contains unknown field `colour`"),
        ('folder = "/"', "Object contains unknown field `folder`"),
        ("skills = 1", "Expected `str | null`, got `int` - at `$.skills`"),
        ('environment = { A = "1", B = 2 }', "Expected `str`, got `int` - at `$.environment.B`"),
        ('[environment]\n"A=B" = "1"', "environment: 'A=B' is no name of a variable"),
        ('[environment]\nA = "{{nothing}}"', "environment.A: unknown placeholder {{nothing}}"),
        ('[environment]\nA = "\\u0000"', "environment.A: '\\x00' holds a NUL character"),
        (
            '[[files]]\nprogram = "loop.py"\npath = "/etc/loop.py"',
            "files[0].path: '/etc/loop.py' does not begin with {{home}}/ or {{workspace}}/, or leads out of it",
        ),
        (
            '[[files]]\ntemplate = "../outside"\npath = "{{home}}/x"',
            "files[0].template: there is no ../outside beside agent.toml",
        ),
        ('[[files]]\ntemplate = "bytes"\npath = "{{home}}/x"', "files[0].template: bytes is no text in UTF-8"),
        ('[[files]]\ntemplate = "own"\npath = "{{home}}/x"', "own: unknown placeholder {{user}}"),
        (
            'skills = "{{home}}/../skills"',
            "skills: '{{home}}/../skills' does not begin with {{home}}/ or {{workspace}}/, or leads out of it",
        ),
        ("[trace", "Expected ']' at the end of a table declaration (at end of document)"),
    ],
)
def test_what_cannot_be_meant_is_named_by_file_and_key(tmp_path: Path, text: str, problem: str) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    (tmp_path / "outside").touch()
    (folder / "bytes").write_bytes(b"\xff")
    (folder / "own").write_text("{{user}}")
    path = folder / "agent.toml"
    path.write_text(f'{HEAD}{PLAIN}session = {{ id = "chosen" }}\n{text}')
    with pytest.raises(AgentError) as caught:
        read_agent(path)
    assert str(caught.value) == f"{path}: {problem}"


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("(", "session.pattern: '(' is no regular expression: missing ), unterminated subpattern at position 0"),
        ("id: .*", "session.pattern: 'id: .*' has no group, which is to be the id"),
    ],
)
def test_a_pattern_of_a_session_has_a_group(tmp_path: Path, pattern: str, problem: str) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(f'{HEAD}{PLAIN}session = {{ id = "output", pattern = "{pattern}" }}\n')
    with pytest.raises(AgentError) as caught:
        read_agent(path)
    assert str(caught.value) == f"{path}: {problem}"


@pytest.mark.parametrize("key", ["name", "version", "executable"])
def test_a_definition_names_itself_and_its_program(tmp_path: Path, key: str) -> None:
    path = tmp_path / "agent.toml"
    head = "\n".join(f'{key} = ""' if line.startswith(f"{key} =") else line for line in HEAD.splitlines())
    path.write_text(f'{head}\n{PLAIN}session = {{ id = "chosen" }}\n')
    with pytest.raises(AgentError, match=f"{key}: '' is no line of text"):
        read_agent(path)


@pytest.mark.parametrize(
    ("images", "problem"),
    [
        ('arguments = ["--image"]', "images: {{image}} belongs in arguments or in prompt"),
        ('prompt = "@{{image}} {{picture}}"', "images.prompt: unknown placeholder {{picture}}"),
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
