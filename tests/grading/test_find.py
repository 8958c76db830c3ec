from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from pytest_agentcap.grading.base import GraderError, GraderInput
from pytest_agentcap.grading.find import load_grader

VERDICT = 'echo \'{"pass": true, "reasoning": "by the program"}\''


def write(tmp_path: Path, name: str, text: str, mode: int = 0o644) -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def reasoning(tmp_path: Path, value: str | Path) -> str | None:
    given = GraderInput(input="x", output="y", cwd=tmp_path, task_id="t")
    return load_grader(value, base=tmp_path).grade(given).reasoning


@pytest.mark.parametrize("keyword", ["def", "async def"])
def test_a_python_file_that_defines_grade_is_called(tmp_path: Path, keyword: str) -> None:
    path = write(tmp_path, "rubric.py", f"{keyword} grade(output):\n    return {{'pass': True, 'reasoning': output}}\n")

    assert load_grader("rubric.py", base=tmp_path).name == "rubric"
    assert reasoning(tmp_path, "rubric.py") == "y"
    assert reasoning(tmp_path / "elsewhere", path) == "y"


def test_a_file_is_never_run_to_find_out_what_it_is(tmp_path: Path) -> None:
    write(tmp_path, "rubric.py", "raise SystemExit('was run')\ndef grade(): ...\n")

    assert load_grader("rubric.py", base=tmp_path).name == "rubric"


def test_an_executable_is_a_program(tmp_path: Path) -> None:
    write(tmp_path, "judge", f"#!/bin/sh\n{VERDICT}\n", 0o755)

    assert reasoning(tmp_path, "judge") == "by the program"


def test_an_executable_python_file_without_grade_is_a_program(tmp_path: Path) -> None:
    source = f"#!{sys.executable}\nclass Judge:\n    def grade(self): ...\n"
    write(tmp_path, "judge.py", source + """print('{"pass": true, "reasoning": "main"}')\n""", 0o755)

    assert reasoning(tmp_path, "judge.py") == "main"


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        (
            "judge.py",
            "def judge(): ...\n",
            "defines no grade(); define it at the top level, or make the file executable",
        ),
        ("judge.sh", "#!/bin/sh\n", "not executable; chmod +x it, or name "),
    ],
)
def test_a_file_that_is_no_grader_says_what_to_do(tmp_path: Path, name: str, text: str, problem: str) -> None:
    path = write(tmp_path, name, text)

    with pytest.raises(GraderError) as caught:
        load_grader(name, base=tmp_path)

    assert str(caught.value).startswith(f"grader {path}: {problem}")


def test_a_syntax_error_names_file_and_line(tmp_path: Path) -> None:
    path = write(tmp_path, "rubric.py", "import json\ndef grade(:\n", 0o755)

    with pytest.raises(GraderError, match=rf"^grader {re.escape(str(path))}:2: .*; correct the file$"):
        load_grader("rubric.py", base=tmp_path)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rubric.py"
    path.write_bytes(b"def grade(): ...\n\0")

    with pytest.raises(GraderError, match=r"rubric\.py.*; correct the file$"):
        load_grader("rubric.py", base=tmp_path)


@pytest.mark.parametrize(("name", "problem"), [("absent.py", "No such file or directory"), (".", "not a file")])
def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path, name: str, problem: str) -> None:
    with pytest.raises(GraderError) as caught:
        load_grader(name, base=tmp_path)

    assert str(caught.value) == (
        f"grader {tmp_path / name}: {problem}; name a Python file that defines grade(), a .ts or "
        ".js module that exports it, or an executable"
    )
