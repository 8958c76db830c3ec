from __future__ import annotations

import subprocess
from pathlib import Path

import msgspec
import pytest

from pytest_agentcap.agents.arguments import longest_prompt
from pytest_agentcap.agents.spec import AgentSpec, CommandLines, read_agent
from pytest_agentcap.shipped import packaged


def spec(*first: str) -> AgentSpec:
    shipped = read_agent(packaged("agents") / "loop" / "agent.toml")
    return msgspec.structs.replace(shipped, command=CommandLines(first, ("a", "--", "{{prompt}}"), "argument"))


def test_a_prompt_on_standard_input_has_no_limit() -> None:
    assert longest_prompt(read_agent(packaged("agents") / "loop" / "agent.toml")) is None


@pytest.mark.parametrize(
    ("word", "most"),
    [
        ("{{prompt}}", 131_071),
        ("--query={{prompt}}", 131_063),
        ("é{{prompt}}", 131_069),
        ("{{prompt}}{{prompt}}", 65_535),
    ],
)
def test_the_rest_of_the_argument_and_its_end_count(word: str, most: int) -> None:
    assert longest_prompt(spec("a", word)) == most


def test_the_limit_is_that_of_this_system(tmp_path: Path) -> None:
    most = longest_prompt(spec("a", "--", "{{prompt}}"))
    assert most is not None
    subprocess.run(["true", "x" * most], check=True)
