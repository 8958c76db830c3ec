from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_agentcap.agents.images import for_images, image_paths, prompt_with_images, with_images
from pytest_agentcap.agents.spec import ImageWay, read_agent
from pytest_agentcap.agents.templates import Variables
from pytest_agentcap.corpus.images import TaskImage
from pytest_agentcap.shipped import packaged

PLACES = Variables("http://p/l/v1", "http://p/l", "m", "/home/agent", "/work")
IMAGES = [TaskImage(f"{kind}/../x", Path("x"), f"image/{kind}", "") for kind in ("png", "jpeg")]


def test_images_lie_in_the_home_under_names_that_tell_their_type() -> None:
    assert image_paths("/home/agent", IMAGES) == (
        "/home/agent/.agentcap-images/image-1.png",
        "/home/agent/.agentcap-images/image-2.jpeg",
    )


def test_words_come_for_each_image_where_they_are_still_options() -> None:
    way = ImageWay(arguments=("-i", "{{image}}"))
    assert with_images(("a", "--", "{{prompt}}"), way, ("/1", "/2")) == (
        ("a", "-i", "/1", "-i", "/2", "--", "{{prompt}}")
    )
    assert with_images(("a", "-"), way, ("/1",)) == ("a", "-", "-i", "/1")
    assert with_images(("a", "-"), way, ()) == ("a", "-")


def test_a_prompt_names_each_image_on_a_line_and_is_left_alone_itself() -> None:
    way = ImageWay(prompt="@{{image}} in {{workspace}}")
    prompt = "say {{image}} and {{home}}"
    assert prompt_with_images(prompt, way, PLACES, ("/1", "/2")) == f"{prompt}\n\n@/1 in /work\n@/2 in /work"
    assert prompt_with_images(prompt, way, PLACES, ()) == prompt
    assert prompt_with_images(prompt, ImageWay(("{{image}}",)), PLACES, ("/1",)) == prompt


@pytest.mark.parametrize("name", ["opencode", "pi", "qwen"])
def test_settings_for_images_are_the_others_with_what_the_model_takes(name: str) -> None:
    agent = read_agent(packaged("agents") / name / "agent.toml")
    (usual,), (other,) = agent.files, for_images(agent).files
    assert usual.path == other.path
    texts = [(agent.folder / str(file.template)).read_text() for file in (usual, other)]
    assert _settled(json.loads(texts[0])) == _settled(json.loads(texts[1]))
    assert [text.count("image") for text in texts] == [0, 1]


def _settled(value: object) -> object:
    """Leave out what says which inputs a model takes."""
    if isinstance(value, list):
        return [_settled(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    left_out = ("input", "attachment", "modalities", "generationConfig")
    return {key: _settled(inner) for key, inner in value.items() if key not in left_out}


def test_an_agent_without_files_for_images_keeps_its_own() -> None:
    agent = read_agent(packaged("agents") / "codex" / "agent.toml")
    assert for_images(agent).files == agent.files
