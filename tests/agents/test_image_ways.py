from __future__ import annotations

from pathlib import Path

from pytest_agentcap.agents.images import image_paths, prompt_with_images, with_images
from pytest_agentcap.agents.spec import ImageWay
from pytest_agentcap.agents.templates import Variables
from pytest_agentcap.corpus.images import TaskImage

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
