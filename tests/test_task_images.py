"""Tasks with images, from the corpus file to the captures and the result."""

from __future__ import annotations

import base64
import hashlib

from pytest_agentcap.conversation.model import Image
from pytest_agentcap.conversation.sources import Faults, read_run_directory
from pytest_agentcap.runs.layout import RunDirectory

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(200))


def test_an_image_goes_with_the_first_prompt_and_no_other_and_not_into_the_workspace(project):
    (project.path / "page.png").write_bytes(PNG)
    project.write_jsonl({"id": "look", "input": ["look", "again"], "reference": "ls", "images": "page.png"})
    project.capture("prompts.jsonl").assert_outcomes(passed=1)

    (result,) = project.results()
    sha256 = hashlib.sha256(PNG).hexdigest()
    assert result["images"] == [{"path": "page.png", "media_type": "image/png", "sha256": sha256}]
    assert result["changed_files"] == 0
    (run,) = project.runs()
    (conversation,) = read_run_directory(RunDirectory(run), Faults())
    users = [message for message in conversation.calls[-1].request.messages if message.role == "user"]
    image = Image("image/png", base64.b64encode(PNG).decode())
    assert [[part for part in message.parts if isinstance(part, Image)] for message in users] == [[image], []]
    assert users[0].text == "look"


def test_an_agent_that_takes_no_images_is_named_with_the_task(project):
    project.write_shell_agent()
    (project.path / "page.png").write_bytes(PNG)
    project.write_jsonl({"input": "say hello"}, {"input": "look", "images": ["page.png"]})
    result = project.pytest("--collect-only", "-q", "--agent", "loop", "--agent", "shell")
    assert result.ret == 2
    result.stdout.fnmatch_lines(["*prompts.jsonl:2: the task has images, and shell takes none: use an agent whose*"])
