"""What corpora say of network and turns in their conftest.py, read before anything runs and without running it.

The controller of pytest-xdist knows tests by their node ids only, and no fixture's value before its test.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Overrides:
    """Hold what a folder's fixtures return where they say it by a plain value; `turns` is 0 where it is computed."""

    network: str | None = None
    turns: int | None = None


def overrides_by_file(nodeids: Iterable[str], root: Path) -> dict[str, Overrides]:
    """Return for the file of each test, by its path below `root`, what its own fixtures and those above it say."""
    files = sorted({nodeid.partition("::")[0] for nodeid in nodeids})
    return {file: _overrides(root, file) for file in files}


def _overrides(root: Path, file: str) -> Overrides:
    network, turns = None, None
    for source in _sources(root, file):
        for function in _functions(source):
            if function.name == "sandbox_options":
                network = _network(function) or network
            elif function.name == "turns":
                turns = _returned(function)
    return Overrides(network, turns)


def _sources(root: Path, file: str) -> Iterator[Path]:
    """Yield where a test's fixtures may be defined; the last that defines one wins."""
    folder = root
    yield folder / "conftest.py"
    for part in Path(file).parent.parts:
        folder = folder / part
        yield folder / "conftest.py"
    if file.endswith(".py"):
        yield root / file


def _functions(path: Path) -> list[ast.FunctionDef]:
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        # pytest itself tells what is wrong with a conftest.py.
        return []
    return [node for node in tree.body if isinstance(node, ast.FunctionDef)]


def _network(function: ast.FunctionDef) -> str | None:
    keywords = (word for node in ast.walk(function) if isinstance(node, ast.Call) for word in node.keywords)
    values = [word.value for word in keywords if word.arg == "network"]
    texts = [value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)]
    return texts[-1] if texts else None


def _returned(function: ast.FunctionDef) -> int:
    returns = [node.value for node in ast.walk(function) if isinstance(node, ast.Return)]
    if len(returns) == 1 and isinstance(returns[0], ast.Constant) and isinstance(returns[0].value, int):
        return returns[0].value
    return 0
