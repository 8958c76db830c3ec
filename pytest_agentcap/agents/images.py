"""How a task's images reach an agent: as files in its home, which its first command or its first prompt names."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pytest_agentcap.agents.spec import AgentSpec, ImageWay
from pytest_agentcap.agents.templates import IMAGE, Variables
from pytest_agentcap.corpus.images import TaskImage

FOLDER = ".agentcap-images"


def image_paths(home: str, images: Sequence[TaskImage]) -> tuple[str, ...]:
    """Return where each image lies in the sandbox, outside of the workspace, under a name that says its type."""
    endings = [image.media_type.removeprefix("image/") for image in images]
    return tuple(f"{home}/{FOLDER}/image-{number}.{ending}" for number, ending in enumerate(endings, start=1))


def for_images(agent: AgentSpec) -> AgentSpec:
    """Return an agent with the files that it gets where a task has images."""
    if agent.images is None:
        return agent
    changed = {file.path: file for file in agent.images.files}
    files = {**{file.path: file for file in agent.files}, **changed}
    return msgspec.structs.replace(agent, files=tuple(files.values()))


def with_images(words: tuple[str, ...], way: ImageWay, paths: Sequence[str]) -> tuple[str, ...]:
    """Return a command line, still to be rendered, that names images: at its end, or before `--`."""
    added = tuple(word.replace(IMAGE, path) for path in paths for word in way.arguments)
    place = words.index("--") if "--" in words else len(words)
    return words[:place] + added + words[place:]


def prompt_with_images(prompt: str, way: ImageWay, variables: Variables, paths: Sequence[str]) -> str:
    """Return a prompt that names images, each on a line behind it."""
    if way.prompt is None or not paths:
        return prompt
    return "\n".join([prompt, "", *(variables.render(way.prompt.replace(IMAGE, path)) for path in paths)])
