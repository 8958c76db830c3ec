"""What docs/proxy.md guarantees: each guarantee names tests, and these exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(test_\w+\.py)::(test_\w+)`")


def guarantees() -> dict[str, str]:
    """Return the guarantees of the page, each with the cell that names its tests."""
    page = (ROOT / "docs" / "proxy.md").read_text("utf-8")
    _, _, below = page.partition("\n## Guarantees\n")
    rows = [line.strip("| ").split(" | ") for line in re.split(r"^## ", below, flags=re.M)[0].splitlines()]
    return {row[0]: row[-1] for row in rows if len(row) == 2 and row[0] != "guarantee"}


def names_in(module: str) -> set[str]:
    [path] = (ROOT / "tests").rglob(module)
    return {node.name for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.FunctionDef)}


def test_the_page_has_guarantees():
    assert len(guarantees()) > 30


@pytest.mark.parametrize("guarantee", guarantees())
def test_a_guarantee_names_tests_that_exist(guarantee):
    named = NAMED.findall(guarantees()[guarantee])
    assert named, f"no test holds it: {guarantee}"
    for module, name in named:
        assert name in names_in(module), f"{module} has no {name}"


def test_no_test_holds_two_guarantees():
    named = [each for cell in guarantees().values() for each in NAMED.findall(cell)]
    assert len(named) == len(set(named))


def test_every_test_module_of_the_proxy_holds_a_guarantee():
    named = {module for cell in guarantees().values() for module, _ in NAMED.findall(cell)}
    # These test parts of it that no agent sees, and the command around it.
    inner = {"test_apis.py", "test_journal.py", "test_leases.py", "test_standalone.py"}
    assert {path.name for path in (ROOT / "tests" / "proxy").glob("test_*.py")} - inner <= named
