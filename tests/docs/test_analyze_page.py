"""The examples of docs/analyze.md, run as shown."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from pytest_agentcap.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "analyze.md").read_text("utf-8")
# A row of AgentTrace's own, as small as it gets.
THEIRS = {"trace_id": "t", "model": "m", "spans": [], "llm_steps": [], "total_duration_ms": 1.0, "metadata": {}}


def commands() -> list[list[str]]:
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if not line.startswith("pip ")]
    return [shlex.split(line, comments=True) for line in lines]


def test_the_examples_run_as_shown(project, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    project.write_jsonl({"id": "list", "input": "count", "reference": "```bash\nls | wc -l\n```\nnone"})
    project.capture("prompts.jsonl").assert_outcomes(passed=1)
    monkeypatch.chdir(project.path)
    project.write("theirs.jsonl", json.dumps(THEIRS) + "\n")
    (run,) = project.runs()
    shown = [words for words in commands() if not any(word.startswith("hf://") for word in words)]
    assert len(shown) == len(commands()) - 1
    capsys.readouterr()
    for program, *arguments in shown:
        assert program == "agentcap"
        assert main([run.name if word == "RUN" else word for word in arguments]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    titles = re.findall(r"^## (.*)$", Path("analysis.md").read_text(), re.MULTILINE)
    drawn = {re.sub(r"^timeline_\d\d_.*", "timeline_NN_TASK", path.stem) for path in Path("figures").iterdir()}
    assert drawn == set(re.findall(r"^\| `(\w+)` \|", PAGE.partition("## Figures")[2], re.MULTILINE))
    described = re.findall(r"^\| ([A-Z][\w ,]+) \|", PAGE, re.MULTILINE)
    assert {title.partition(":")[0] for title in titles} == {name for cell in described for name in cell.split(", ")}
