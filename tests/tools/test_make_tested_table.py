from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "make-tested-table"
FACTS = {
    "model": "org/m", "scripted": False, "server": "local", "agent": "pi", "version": "1.0", "date": "2026-01-02",
    "api": "chat", "sandbox": "podman", "sessions": 2, "good": 1, "calls": 9, "turn_2": True, "trace": None,
    "seconds": 12.34,
}  # fmt: skip


class Table:
    """A page in a folder of its own, and what the tool makes of it."""

    def __init__(self, folder: Path) -> None:
        self.page, self.log = folder / "page.md", folder / "log.jsonl"

    def add(self, *lines: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        self.log.write_text("".join(json.dumps({**FACTS, **line}) + "\n" for line in lines))
        return self.run(str(self.log))

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, TOOL, *words, "--page", self.page], capture_output=True, text=True)

    def rows(self, heading: str) -> list[str]:
        section = self.page.read_text().partition(f"\n{heading}\n")[2].partition("\n## ")[0]
        return [line for line in section.splitlines() if line.startswith("| `")]


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(tmp_path)


def test_a_run_becomes_a_row(table: Table) -> None:
    assert table.add({}).returncode == 0
    assert table.rows("## Real models") == [
        "| `org/m (local)` | `pi` | 1.0 | 2026-01-02 | chat | podman | 1 of 2 | 9 | yes | - | 12.3 |"
    ]


def test_a_later_run_replaces_its_row_and_leaves_those_of_others(table: Table) -> None:
    table.add({}, {"agent": "loop"}, {"model": "other"})
    before = table.rows("## Real models")
    table.add({"date": "2026-02-03", "good": 2})
    after = table.rows("## Real models")
    assert len(after) == 3
    assert [row for row in after if row in before] == [row for row in before if "`org/m (local)` | `pi`" not in row]
    assert any("2026-02-03 | chat | podman | 2 of 2" in row for row in after)


def test_rows_of_the_scripted_model_stand_apart(table: Table) -> None:
    table.add({"model": "scripted", "scripted": True, "server": None}, {})
    assert [row.split(" | ")[0] for row in table.rows("## The scripted model")] == ["| `scripted`"]
    assert len(table.rows("## Real models")) == 1


def test_a_page_that_is_written_again_stays_as_it_was(table: Table) -> None:
    table.add({}, {"model": "scripted", "scripted": True, "server": None})
    before = table.page.read_text()
    assert table.run().returncode == 0
    assert table.page.read_text() == before


def test_an_agent_without_a_row_is_named_with_its_reason(table: Table) -> None:
    table.add({})
    text = table.page.read_text()
    assert "- `goose`: only the command lines of this definition are tested" in text
    assert "- `loop`: no run has been recorded yet." in text
    assert "- `pi`" not in text


def test_a_name_of_a_model_cannot_break_its_row(table: Table) -> None:
    table.add({"model": "a|b`\nc"})
    assert table.rows("## Real models")[0].startswith("| `a b c (local)` | `pi` |")


@pytest.mark.parametrize("line", ["{}", "no json", '{"scripted": true}'])
def test_a_line_that_is_none_of_a_log_is_named_and_nothing_is_written(table: Table, line: str) -> None:
    table.log.write_text(json.dumps(FACTS) + "\n" + line + "\n")
    done = table.run(str(table.log))
    assert done.returncode == 1
    assert f"{table.log}:2: not a line of AGENTCAP_TESTED_LOG" in done.stderr
    assert not table.page.exists()
