"""What the pages on results show is run, and comes out as shown."""

from __future__ import annotations

import doctest
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_agentcap.cli import main

DOCS = Path(__file__).parents[2] / "docs"
FILE = re.compile(r"^`([\w./-]+)`:\n\n```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)


@pytest.fixture
def page(tmp_path, monkeypatch):
    """Write a page's files into the current folder, and return its text."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AGENTCAP_WORKSPACE", raising=False)

    def read(name: str) -> str:
        text = (DOCS / name).read_text("utf-8")
        for path, content in FILE.findall(text):
            Path(path).write_text(content)
            if content.startswith("#!"):
                Path(path).chmod(0o755)
        return text

    return read


def commands(text: str) -> list[tuple[str, str]]:
    return [each for block in CONSOLE.findall(text) for each in COMMAND.findall(block)]


@pytest.mark.parametrize("name", ["eval-concepts.md", "comparison-graders.md"])
def test_commands_print_what_is_shown(page, name, capsys, need):
    need("jq")
    shown = commands(page(name))
    assert shown
    for command, output in shown:
        assert main(shlex.split(command)[1:]) == 0, capsys.readouterr().err
        assert capsys.readouterr().out == output


def test_the_functions_return_what_is_shown(page):
    text = "\n".join(re.findall(r"^```pycon\n(.*?)^```$", page("eval-concepts.md"), re.MULTILINE | re.DOTALL))
    test = doctest.DocTestParser().get_doctest(text, {}, "eval-concepts.md", None, 0)
    assert len(test.examples) > 10
    assert doctest.DocTestRunner().run(test).failed == 0


def test_the_example_comparison_graders_decide_as_they_say(page, capsys, need):
    need("jq")
    for command, _ in commands(page("comparison-graders.md")):
        assert main(shlex.split(command)[1:]) == 0
    winners = {
        name: [task["winner"] for task in json.loads(Path(name).read_bytes())["headToHead"]["prompts"]]
        for name in ("weighted.json", "custom.json", "fastest.json")
    }
    assert winners == {"weighted.json": ["a", "b"], "custom.json": ["a", "b"], "fastest.json": ["a", "b"]}
    assert "old" in Path("report.md").read_text()
    capsys.readouterr()


def test_the_example_prompts_run_as_shown(project, page, monkeypatch):
    text = page("eval-harness.md")
    page("adapters.md")
    monkeypatch.setenv("HOME", str(Path.cwd()))
    agentcap = f"'{sys.executable}' -c 'import sys; from pytest_agentcap.cli import main; sys.exit(main())' "
    for command, _ in commands(text):
        line = command.replace("agentcap ", agentcap).replace(
            "--model M --upstream URL", "--model scripted --upstream scripted"
        )
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stderr) == (0, "")
    assert "# Evaluation Results" in done.stdout
    first, second = (json.loads(line) for line in Path("results.jsonl").read_text().splitlines())
    assert (first["id"], first["score"]["pass"], second["metadata"]["turnCount"]) == ("greet", True, 2)
    assert [len(json.loads(line)["trials"]) for line in Path("trials.jsonl").read_text().splitlines()] == [3, 3]
