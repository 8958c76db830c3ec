from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
VISIBLE = {
    "LICENSE",
    "README.md",
    "agents",
    "conftest.py",
    "corpora",
    "docs",
    "pyproject.toml",
    "pytest_agentcap",
    "tests",
    "tools",
}


def tracked() -> list[str]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: what belongs to the project cannot be told from what lies about")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.rstrip("\0").split("\0")


def test_the_top_level_holds_what_the_house_has_and_nothing_else():
    assert {path.partition("/")[0] for path in tracked() if not path.startswith(".")} == VISIBLE


def test_tests_have_distinct_names_and_no_packages():
    names = [Path(path).name for path in tracked() if path.startswith("tests/") and path.endswith(".py")]
    assert "__init__.py" not in names
    modules = [name for name in names if name.startswith("test_")]
    assert len(set(modules)) == len(modules)


def test_agents_are_data_without_python():
    assert not [path for path in tracked() if path.startswith("agents/") and path.endswith(".py")]
