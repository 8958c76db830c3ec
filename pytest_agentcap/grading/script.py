"""Graders in JavaScript and TypeScript: modules that export `grade`, called by bun or node."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from pytest_agentcap.grading.base import GraderError
from pytest_agentcap.grading.program import DEFAULT_TIMEOUT_S, ProgramGrader

ENDINGS = (".ts", ".js", ".mjs", ".cjs")
# The first node that reads TypeScript, behind this option; see its documentation of type stripping.
_TYPED_NODE = (22, 6)
_STRIP_TYPES = "--experimental-strip-types"
# Descriptor 3 is our standard output, and theirs our standard error.
_SPLIT = 'exec "$@" 3>&1 1>&2'


def script_grader(path: Path, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> ProgramGrader:
    """Return the grader that calls `grade` of a module in a process of its own; bun is taken where there is one.

    Raises GraderError when neither bun nor a node that can read the file is installed.
    """
    runner = Path(__file__).with_name("runner.mjs")
    return ProgramGrader(
        path.stem, ("sh", "-c", _SPLIT, "sh", *_runtime(path), str(runner), str(path)), timeout_s=timeout_s
    )


def _runtime(path: Path) -> tuple[str, ...]:
    bun, node = shutil.which("bun"), shutil.which("node")
    if bun:
        return (bun,)
    if node is None:
        raise GraderError(f"grader {path}: neither bun nor node is installed; install one of them")
    if path.suffix != ".ts":
        return (node,)
    if _version(node) < _TYPED_NODE:
        raise GraderError(f"grader {path}: TypeScript needs bun, or node {_TYPED_NODE[0]}.{_TYPED_NODE[1]}; install it")
    return (node, _STRIP_TYPES, "--no-warnings")


def _version(node: str) -> tuple[int, ...]:
    told = subprocess.run([node, "--version"], capture_output=True, text=True).stdout
    return tuple(map(int, re.findall(r"\d+", told)[:2]))
