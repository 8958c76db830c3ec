"""What docs/switching.md names of ours exists, and every command of the systems it speaks of has its row."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest

from pytest_agentcap.cli import COMMANDS
from pytest_agentcap.options import OPTIONS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "switching.md").read_text("utf-8")
PYTEST = {f"--{prefix}{option.name}" for option in OPTIONS for prefix in ("", "agentcap-")}
PYTEST |= {"-p", "-n", "-k", "--lf", "--junitxml", "--collect-only"}
THEIRS = {
    "agentcap": ["run", "ls", "export", "inspect"],
    "agent-eval-harness": [
        *("capture", "trials", "summarize", "calibrate", "validate-refs", "balance", "schemas", "headless"),
        *("run", "extract", "grade", "format", "compare"),
    ],
    "AgentTrace": [
        *("collect.py", "scripts/collect-all.sh", "scripts/llama-server.sh", "scripts/generate-testdata.py"),
        *("analyze.py", "analyze_deep.py", "plots.py"),
    ],
    "AgentGym": [
        *("python3 -m evaluator.run", "scripts/generate_l1_tasks.py", "scripts/publish_results.py"),
        *("scripts/build_leaderboard_from_runs.py", "tools/run_parallel_eval_tmux.py", "L1-eval"),
    ],
}
THEIR_RUN_OPTIONS = {
    "agentcap": "agent model upstream api-key sandbox skills tool-dir label tasks turns followup timeout push no-scan "
    "all long rid",
    "AgentGym": "repos task-set runs-root dry-run model base-url api-key temperature max-output-tokens "
    "include-reasoning-content",
}


def rows(system: str) -> list[tuple[str, str]]:
    """Return the cells of the table of one system's commands: theirs, ours."""
    below = TEXT.partition(f"\n## From {system}\n")[2].partition("\n## ")[0]
    table = below.partition(f"| {system} | here |\n|---|---|\n")[2].partition("\n\n")[0]
    cells = [re.fullmatch(r"\| (.*) \| (.*) \|", line) for line in table.splitlines()]
    assert all(cells)
    return [(cell[1], cell[2]) for cell in cells if cell]


def parsers() -> dict[str, argparse.ArgumentParser]:
    commands = argparse.ArgumentParser().add_subparsers()
    for command in COMMANDS:
        command.add(commands)
    return dict(commands.choices)


def command_lines() -> list[str]:
    """Return what is in code in the cells about this project and is a command line of it."""
    ours = [cell for line in TEXT.splitlines() if line.startswith("| ") for cell in [line.rsplit(" | ", 1)[-1]]]
    told = [code for cell in ours for code in re.findall(r"`([^`]+)`", cell)]
    return [code for code in told if code.startswith(("agentcap ", "pytest ", "tools/"))]


@pytest.mark.parametrize("system", THEIRS)
def test_every_command_of_another_system_has_a_row(system):
    spans = [code for theirs, _ in rows(system) for code in re.findall(r"`([^`]+)`", theirs)]
    told = [*spans, *(theirs for theirs, _ in rows(system))]
    assert [name for name in THEIRS[system] if not any(re.match(rf"{re.escape(name)}\b", each) for each in told)] == []


@pytest.mark.parametrize("system", THEIR_RUN_OPTIONS)
def test_every_option_of_another_systems_run_has_a_row(system):
    named = set(re.findall(r"--([a-z][\w-]*)", " ".join(theirs for theirs, _ in rows(system))))
    assert set(THEIR_RUN_OPTIONS[system].split()) - named == set()


def known_options(program: str, words: list[str]) -> set[str]:
    """Return which options a program has; KeyError and OSError when there is no such program."""
    if program == "pytest":
        return PYTEST
    if program == "agentcap":
        return set(parsers()[words[0]]._option_string_actions)
    text = (ROOT / program).read_text("utf-8")
    return {word for word in words if f'"{word}"' in text}


@pytest.mark.parametrize("line", dict.fromkeys(command_lines()))
def test_every_command_line_of_ours_is_one(line):
    inner = re.findall(r"\$\((.*?)\)", line)
    for each in (*inner, re.sub(r"\$\(.*?\)", "CORPUS", line)):
        program, *words = shlex.split(each)
        assert {word for word in words if word.startswith("-")} - known_options(program, words) == set()


def test_options_outside_of_command_lines_exist():
    commands = {option for parser in parsers().values() for option in parser._option_string_actions}
    ours = [line.rsplit(" | ", 1)[-1] for line in TEXT.splitlines() if line.startswith("| ")]
    prose = [line for line in TEXT.splitlines() if not line.startswith("| ")]
    named = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", "\n".join([*ours, *prose])))
    # Those of tools/ and of the loop agent.
    tools = {"--check", "--context", "--temperature", "--include-reasoning-content"}
    assert named - PYTEST - commands - tools == set()
