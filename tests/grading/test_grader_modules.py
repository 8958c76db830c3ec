from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pytest_agentcap.grading.base import GraderError, GraderInput, GraderResult
from pytest_agentcap.grading.builtin import Toolbox
from pytest_agentcap.grading.find import load_grader

GRADE = """
import { execSync } from "node:child_process";
console.log('{"pass": false}');
export const grade = async ({ input, output, hint, metadata, trajectory, cwd }) => {
  console.log("grading");
  process.stdout.write("raw");
  execSync("echo child", { stdio: "inherit" });
  return { pass: output.includes(hint), score: 0.5, reasoning: input, outcome: { cwd, metadata, trajectory } };
};
"""


@pytest.fixture(params=["bun", "node"])
def runtime(request: pytest.FixtureRequest, need, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Leave one of the two on PATH."""
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in (request.param, "sh", "echo"):
        (programs / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(programs))
    return request.param


def graded(tmp_path: Path, name: str, source: str, timeout_s: float = 60) -> GraderResult:
    (tmp_path / name).write_text(source)
    given = GraderInput(
        input="Say hello.", output="hello", cwd=tmp_path, task_id="t", hint="hell", metadata={"n": 1}, trajectory=[]
    )
    return load_grader(name, base=tmp_path, tools=Toolbox(timeout_s)).grade(given)


@pytest.mark.parametrize("name", ["grade.mjs", "grade.js"])
def test_a_module_answers_whatever_it_prints(runtime: str, tmp_path: Path, name: str) -> None:
    result = graded(tmp_path, name, GRADE)

    assert (result.name, result.passed, result.score, result.reasoning) == ("grade", True, 0.5, "Say hello.")
    assert result.outcome == {"cwd": str(tmp_path), "metadata": {"n": 1}, "trajectory": []}


def test_typescript_is_read_by_bun(runtime: str, tmp_path: Path) -> None:
    if runtime != "bun":
        pytest.skip("node reads it from 22.6 on")
    source = "export const grade = ({ output }: { output: string }): object => ({ pass: output.length > 0 })"
    assert graded(tmp_path, "grade.ts", source).passed


def test_typescript_and_an_old_node_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = tmp_path / "node"
    node.write_text("#!/bin/sh\necho v20.20.2\n")
    node.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GraderError, match=r"grade\.ts: TypeScript needs bun, or node 22\.6; install it"):
        graded(tmp_path, "grade.ts", "")


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("export const rate = () => 1", "TypeError: the module exports no function grade"),
        ("export const grade = () => { throw new Error('no\\nrubric') }", "Error: no rubric"),
        ("export const grade = () => undefined", "its answer is not a JSON object: null"),
        ("export const grade = () => process.exit(0)", "gave no answer on stdout"),
        ("export const grade = () => ({ pass: 'yes', score: 7 })", "`pass` must be true or false"),
    ],
)
def test_a_module_without_a_verdict_is_a_grader_error(runtime: str, tmp_path: Path, source: str, problem: str) -> None:
    with pytest.raises(GraderError) as caught:
        graded(tmp_path, "grade.mjs", source)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_module_that_hangs_is_ended(runtime: str, tmp_path: Path) -> None:
    with pytest.raises(GraderError, match="did not finish within 1 s"):
        graded(tmp_path, "grade.mjs", "export const grade = () => { for (;;) {} }", timeout_s=1)


def test_without_a_runtime_it_says_which_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GraderError, match="neither bun nor node is installed; install one of them"):
        graded(tmp_path, "grade.mjs", json.dumps(1))
