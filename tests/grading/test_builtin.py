from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_agentcap.grading.base import GraderError, GraderInput, GraderResult
from pytest_agentcap.grading.builtin import NAMES, Toolbox
from pytest_agentcap.grading.find import load_grader, load_graders


def given(cwd: Path, **changes: Any) -> GraderInput:
    return GraderInput(
        **{"input": "Count.", "output": "There are 3 Apples.", "cwd": cwd, "task_id": "count", **changes}
    )


def graded(spec: Any, cwd: Path, **changes: Any) -> GraderResult:
    [grader] = load_graders([spec], base=cwd)
    return grader.grade(given(cwd, **changes))


def error_of(spec: Any, cwd: Path, **changes: Any) -> str:
    with pytest.raises(GraderError) as caught:
        graded(spec, cwd, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("spec", "passed", "score", "reasoning"),
    [
        ("contains:3 Apples", True, 1.0, "all that was asked for holds"),
        ("contains:3 apples", False, 0.0, "the reply lacks '3 apples'"),
        ({"contains": ["There", "Pears"]}, False, 0.5, "the reply lacks 'Pears'"),
        ({"contains": {"all": ["3 apples"], "ignore_case": True}}, True, 1.0, "all that was asked for holds"),
        (
            {"contains": {"any": ["4", "5"], "none": ["Apples"]}},
            False,
            0.0,
            "the reply has 'Apples'; the reply has none",
        ),
        ({"contains": {"all": ["3"], "file": "count.txt"}}, True, 1.0, "all that was asked for holds"),
        ({"contains": {"all": ["3"], "file": "no/count.txt"}}, False, 0.0, "no/count.txt is missing"),
        (r"regex:\b\d+ [A-Z]\w+\.$", True, 1.0, "all that was asked for holds"),
        ({"regex": {"none": [r"^\w+ are"]}}, False, 0.0, r"the reply has '^\\w+ are'"),
        ({"json-schema": {"type": "object"}}, False, 0.0, "the reply is not JSON: There are 3 Apples."),
        ({"json-schema": {"schema": {"type": "integer"}, "file": "count.txt"}}, True, 1.0, "all that was asked for"),
        (
            {"json-schema": {"schema": {"type": "string"}, "file": "count.txt"}},
            False,
            0.0,
            "count.txt: 3 is not of type",
        ),
    ],
)
def test_a_check_passes_or_says_what_is_missing(
    tmp_path: Path, spec: Any, passed: bool, score: float, reasoning: str
) -> None:
    (tmp_path / "count.txt").write_text("3\n")

    result = graded(spec, tmp_path)

    assert (result.passed, result.score) == (passed, score)
    assert (result.reasoning or "").startswith(reasoning)
    assert result.name == (spec if isinstance(spec, str) else next(iter(spec))).partition(":")[0]


def test_without_an_argument_the_task_says_what_to_check(tmp_path: Path) -> None:
    assert graded("contains", tmp_path, metadata={"contains": "Apples"}, hint="Pears").passed
    assert graded("contains", tmp_path, hint="3 Apples").passed
    assert graded("regex", tmp_path, hint=r"\d").passed
    assert not graded("contains:Pears", tmp_path, metadata={"contains": "Apples"}).passed


@pytest.mark.parametrize(
    ("spec", "facts", "problem"),
    [
        (
            "contains",
            {},
            "contains: the task count has no metadata.contains nor a hint; give it one, or write contains:",
        ),
        ("json-schema", {"hint": "{}"}, "json-schema: the task count has no metadata.json-schema; give it one"),
        (
            "contains",
            {"metadata": {"contains": 3}},
            "contains: metadata.contains of count: Expected `object`, got `int`",
        ),
        (
            "contains",
            {"metadata": {"contains": {"al": ["x"]}}},
            "contains: metadata.contains of count: Object contains unk",
        ),
        ("contains", {"metadata": {"contains": []}}, "contains: metadata.contains of count: nothing to look for"),
        (
            "contains",
            {"metadata": {"contains": {"all": ["x"], "file": "../x"}}},
            "contains: metadata.contains of count: f",
        ),
        ("regex:(", {}, "regex: its argument '(': '(' is no regular expression"),
        ("json-schema:{", {}, "json-schema: its argument '{': not JSON"),
        ('json-schema:{"type": 3}', {}, "json-schema: its argument '{\"type\": 3}': no JSON Schema: 3 is not valid"),
        ("contains:@absent.txt", {}, "contains: "),
        (
            {"containz": "x"},
            {},
            "containz: not known; there are contains, regex, json-schema, git-diff, command, llm-judge",
        ),
        ("llm-judge:Be strict.", {}, "llm-judge: which model judges? pass --judge-model ID and --judge-upstream URL"),
        ("git-diff", {}, "git-diff: it is not known what the session changed"),
        ("command:true", {}, "command: there is no workspace to run it in"),
    ],
)
def test_what_cannot_be_checked_is_one_line(tmp_path: Path, spec: Any, facts: dict[str, Any], problem: str) -> None:
    assert error_of(spec, tmp_path, **facts).startswith(f"grader {problem}")


def test_an_argument_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "wanted.txt").write_text("3 Apples\n")
    (tmp_path / "schema.json").write_text(
        '{"type": "array", "items": {"$ref": "#/$defs/n"}, "$defs": {"n": {"maximum": 2}}}'
    )

    assert graded("contains:@wanted.txt", tmp_path).passed
    result = graded("json-schema:@schema.json", tmp_path, output="Here:\n```json\n[1, 5]\n```\nDone.")
    assert (result.passed, result.reasoning) == (False, "the reply[1]: 5 is greater than the maximum of 2")


def test_a_file_of_the_name_is_named_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "contains"
    path.write_text("""#!/bin/sh\necho '{"pass": true, "reasoning": "by the file"}'\n""")
    path.chmod(0o755)

    assert graded("./contains", tmp_path).reasoning == "by the file"
    assert set(NAMES) >= {"contains", "command"}


def test_a_schema_never_fetches_what_it_refers_to(tmp_path: Path, http_upstream: Any) -> None:
    with http_upstream(lambda path: (200, b"true")) as server:
        message = error_of({"json-schema": {"$ref": f"{server.url}/schema.json"}}, tmp_path, output="1")

    assert "Unresolvable" in message
    assert server.seen == []


def test_a_pattern_that_takes_for_ever_is_ended(tmp_path: Path) -> None:
    grader = load_grader("regex:^(a+)+$", base=tmp_path, tools=Toolbox(timeout_s=1))

    with pytest.raises(GraderError, match=r"^grader regex: did not finish within 1 s"):
        grader.grade(given(tmp_path, output="a" * 60 + "!"))


@pytest.mark.parametrize(
    ("argument", "passed", "reasoning"),
    [
        (None, True, "all that was asked for holds"),
        ("src/*.py", True, "all that was asked for holds"),
        (["src/*.py", "docs/*"], False, "nothing that matches 'docs/*' was changed"),
        ({"only": ["src/*"]}, False, "'tests/test_a.py' must not have changed"),
        ({"untouched": ["tests/*"]}, False, "'tests/test_a.py' must not have changed"),
        ({"only": ["src/*", "tests/*"], "max_files": 3}, True, "all that was asked for holds"),
        ({"max_files": 2}, False, "3 files were changed, 2 may be"),
    ],
)
def test_changes_are_held_against_globs(tmp_path: Path, argument: Any, passed: bool, reasoning: str) -> None:
    changed = ("src/a.py", "src/deep/b.py", "tests/test_a.py")

    result = graded({"git-diff": argument}, tmp_path, changed=changed)

    assert (result.passed, result.reasoning) == (passed, reasoning)


def test_nothing_changed_is_a_failure(tmp_path: Path) -> None:
    result = graded("git-diff", tmp_path, changed=())

    assert (result.passed, result.score, result.reasoning) == (False, 0.0, "nothing was changed")


def test_files_that_the_agent_planted_are_not_imported_by_checks(tmp_path: Path) -> None:
    for name in ("json.py", "re.py", "jsonschema.py", "referencing.py", "sitecustomize.py", "fnmatch.py"):
        (tmp_path / name).write_text("raise SystemExit(9)\n")

    assert graded({"json-schema": {"type": "integer"}}, tmp_path, output="1").passed
