"""What docs/reliability.md promises: each promise names tests, and these exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(test_\w+\.py)::(test_\w+)`")


def promises() -> dict[str, str]:
    """Return the promises of the page, each with the cell that names its tests."""
    page = (ROOT / "docs" / "reliability.md").read_text("utf-8")
    table = page.partition("\n## Promises\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return {row[0]: row[-1] for row in rows if row[0] != "promise"}


def names_in(module: str) -> set[str]:
    [path] = (ROOT / "tests").rglob(module)
    return {node.name for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("promise", promises())
def test_a_promise_names_tests_that_exist(promise):
    named = NAMED.findall(promises()[promise])
    assert named, f"no test holds it: {promise}"
    for module, name in named:
        assert name in names_in(module), f"{module} has no {name}"


def test_every_test_of_faults_holds_a_promise():
    named = {module for cell in promises().values() for module, _ in NAMED.findall(cell)}
    assert {path.name for path in (ROOT / "tests" / "faults").glob("test_*.py")} <= named
