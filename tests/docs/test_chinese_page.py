"""What docs/zh-CN/README.md shows is run, and its command lines are ours; options and links: test_docs.py."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from pytest_agentcap.cli import COMMANDS as OURS
from pytest_agentcap.corpus import repotasks

VERDICTS = {
    *("captured", "passed", "failed", "no_calls", "agent_error", "agent_timeout", "grader_error", "limit", "infra"),
}
ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "zh-CN" / "README.md").read_text("utf-8")
FILE = re.compile(r"^`([\w./-]+)`:\n\n```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = [
    line.partition("  #")[0]
    for block in re.findall(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]


def write_files(project, *below):
    for name, text in FILE.findall(TEXT):
        if name.startswith(below):
            project.write(name, text)


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("agentcap ")])
def test_command_lines_can_be_read(line):
    parser = argparse.ArgumentParser(allow_abbrev=False)
    commands = parser.add_subparsers(required=True)
    for command in OURS:
        command.add(commands)
    parser.parse_args(shlex.split(line)[1:])


def test_the_corpus_runs_as_shown(project):
    write_files(project, "notes/")
    project.pytest(*shlex.split("notes -p agentcap --agent loop --sandbox host")).assert_outcomes(passed=2)
    assert "pytest notes -p agentcap --agent loop --sandbox host" in COMMANDS
    assert {result["verdict"] for result in project.results()} == {"passed"}


def test_the_task_on_a_repository_runs_as_shown(project):
    write_files(project, "gym/")
    project.write("shop/pages/home.md", "# Home\n")
    project.write("shop/pages/shop.md", "# Shop\n")
    project.write("shop/prices.csv", "name,price\ntea,4.10\nbread,3.25\n")
    author = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    for words in (("init", "-q", "-b", "main"), ("add", "-A"), (*author, "commit", "-qm", "Begin")):
        subprocess.run(["git", *words], cwd=project.path / "shop", check=True)
    project.capture("gym").assert_outcomes(passed=1)
    (result,) = project.results()
    assert (result["verdict"], result["assessment"]["score"]) == ("passed", 100)


def test_every_verdict_and_oracle_is_named():
    named = set(re.findall(r"`([^`\n]+)`", TEXT))
    assert (repotasks.ORACLES | VERDICTS) - named == set()
