from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_agentcap.corpus.jsonl import read_jsonl
from pytest_agentcap.corpus.reader import CorpusError, read_corpus
from pytest_agentcap.corpus.source import Source
from pytest_agentcap.corpus.task import Task


def read(tmp_path: Path, *lines: str | dict[str, Any]) -> tuple[Task, ...]:
    path = tmp_path / "prompts.jsonl"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + "\n", encoding="utf-8", newline="")
    return read_corpus(path, root=tmp_path)


def error_of(tmp_path: Path, *lines: str | dict[str, Any]) -> str:
    with pytest.raises(CorpusError) as caught:
        read(tmp_path, *lines)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_every_key_reaches_the_task(tmp_path: Path) -> None:
    record = {
        "id": "greet",
        "input": ["Say hello.", "Louder."],
        "hint": "HELLO",
        "reference": ["echo hello", "echo HELLO"],
        "metadata": {"category": "shell", "files": {"a": {"bytes": 1}}},
        "timeout": 1500,
    }

    (task,) = read(tmp_path, record)

    assert task == Task(
        id="greet",
        prompts=("Say hello.", "Louder."),
        corpus=tmp_path.name,
        index=1,
        source="prompts.jsonl:1",
        hint="HELLO",
        references=("echo hello", "echo HELLO"),
        metadata={"category": "shell", "files": {"a": {"bytes": 1}}},
        timeout_s=1.5,
    )


def test_only_input_is_needed_and_null_counts_as_absent(tmp_path: Path) -> None:
    nulls = dict.fromkeys(("id", "hint", "reference", "metadata", "timeout"))

    first, second = read(tmp_path, {"input": "Say hello."}, {"input": "Say bye.", **nulls})

    assert first.id.startswith("say-hello-")
    assert second.id.startswith("say-bye-")
    assert (second.hint, second.references, second.metadata, second.timeout_s) == (None, (), {}, None)


def test_prompts_are_verbatim(tmp_path: Path) -> None:
    prompt = "  two\r\nlines\u2028 and \U0001f600 \n"

    (task,) = read(tmp_path, json.dumps({"input": prompt}, ensure_ascii=False))

    assert task.prompt == prompt


def test_crlf_and_blank_lines_are_skipped_and_counted(tmp_path: Path) -> None:
    tasks = read(tmp_path, '{"input": "one"}\r', "", " \t\r", '{"input": "two"}\r')

    assert [(task.prompt, task.source) for task in tasks] == [("one", "prompts.jsonl:1"), ("two", "prompts.jsonl:4")]


def test_a_line_separator_inside_a_string_does_not_end_the_line(tmp_path: Path) -> None:
    tasks = read(tmp_path, '{"input": "one\u2028still one\x85"}', '{"input": "two"}')

    assert [task.prompt for task in tasks] == ["one\u2028still one\x85", "two"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{'input': 'x'}", "not valid JSON"),
        ('{"input": "x"} {"input": "y"}', "not valid JSON"),
        ('{"input": "x"', "not valid JSON"),
        ('"just a string"', "not a JSON object but a string"),
        ('["a"]', "not a JSON object but a list"),
        ("null", "not a JSON object but null"),
        ("{}", "no `input`"),
        ('{"prompt": "x"}', "no `input`"),
        ('{"input": null}', "`input` is null"),
        ('{"input": 5}', "`input` is a number"),
        ('{"input": {"text": "x"}}', "`input` is an object"),
        ('{"input": ["x", 5]}', "`input` is a list of other things than strings"),
        ('{"input": []}', "`input` is an empty list"),
        ('{"input": " \\n"}', "the prompt is empty"),
        ('{"input": ["x", ""]}', "the prompt is empty"),
        ('{"input": "a\\u0000b"}', "a NUL character in the prompt"),
        ('{"input": "x", "reference": "a\\u0000b"}', "a NUL character in the reference"),
        ('{"input": "\\ud83d"}', "half of a surrogate pair in the prompt"),
        ('{"input": "x", "hint": "\\udc00"}', "half of a surrogate pair in the hint"),
        ('{"input": "x", "id": 7}', "`id` is a number"),
        ('{"input": "x", "id": ""}', "`id` is empty"),
        ('{"input": "x", "hint": ["y"]}', "`hint` is a list"),
        ('{"input": "x", "reference": 1}', "`reference` is a number"),
        ('{"input": "x", "reference": ["a", "b"]}', "2 references for 1 prompts"),
        ('{"input": "x", "metadata": "y"}', "`metadata` is a string"),
        ('{"input": "x", "timeout": "60000"}', "`timeout` is a string"),
        ('{"input": "x", "timeout": true}', "`timeout` is a boolean"),
        ('{"input": "x", "timeout": 0}', "`timeout` is out of range"),
        ('{"input": "x", "timeout": 1' + "0" * 400 + "}", "`timeout` is out of range"),
        ('{"input": "x", "timeout": NaN}', "NaN is not a JSON number"),
        ('{"input": "x", "timeout": 1e400}', "the number 1e400 is too large"),
        ('{"input": "x", "metadata": {"n": -Infinity}}', "-Infinity is not a JSON number"),
        ('{"input": "x", "metadata": {"n": ' + "9" * 5000 + "}}", "not readable JSON"),
        ('{"input": "x", "metadata": ' + "[" * 100_000 + "]" * 100_000 + "}", "not readable JSON"),
        ('{"input": "x", "input": "y"}', 'the key "input" stands twice'),
        ('{"input": "x", "metadata": {"k": 1, "k": 1}}', 'the key "k" stands twice'),
    ],
    ids=lambda value: value if len(value) < 50 else value[:40],
)
def test_a_line_that_cannot_be_used_is_refused(tmp_path: Path, line: str, problem: str) -> None:
    message = error_of(tmp_path, {"input": "fine"}, line)

    assert message.startswith(f"prompts.jsonl:2: {problem}")
    assert "; " in message


def test_an_id_used_twice_names_both_lines(tmp_path: Path) -> None:
    message = error_of(tmp_path, {"id": "a", "input": "x"}, {"input": "y"}, {"id": "a", "input": "z"})

    assert message == "prompts.jsonl:3: the id 'a' is used twice, first on line 1; give each task its own id"


def test_ids_that_differ_in_case_alone_are_refused(tmp_path: Path) -> None:
    message = error_of(tmp_path, {"id": "Case", "input": "x"}, {"id": "case", "input": "y"})

    assert message.startswith("prompts.jsonl:2: the id 'case' is used twice, first on line 1 as 'Case'")


def test_an_id_that_another_task_derives_is_refused(tmp_path: Path) -> None:
    derived = read(tmp_path, {"input": "Say hello."})[0].id

    message = error_of(tmp_path, {"input": "Say hello."}, {"id": derived, "input": "x"})

    assert message.startswith(f"prompts.jsonl:2: the id '{derived}' is used twice, first on line 1")


def test_expected_is_read_as_hint_and_reported_once(tmp_path: Path) -> None:
    with pytest.warns(DeprecationWarning, match="expected") as caught:
        tasks = read(
            tmp_path, {"input": "x", "hint": "h"}, {"input": "y", "expected": "e"}, {"input": "z", "expected": "f"}
        )

    assert [task.hint for task in tasks] == ["h", "e", "f"]
    assert [str(warning.message) for warning in caught] == [
        "prompts.jsonl:2: the key `expected` is deprecated; rename it to `hint`"
    ]


def test_expected_with_a_wrong_type_is_refused(tmp_path: Path) -> None:
    assert error_of(tmp_path, {"input": "x", "expected": 4}).startswith("prompts.jsonl:1: `expected` is a number")


def test_unknown_keys_are_left_out_and_reported_once(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="nobody reads") as caught:
        tasks = read(
            tmp_path,
            {"input": "x", "metadata": {"kept": 1}, "tags": []},
            {"input": "y", "tags": [], "hint": "h", "expected": "e", "a\nb": 1},
        )

    assert [dict(task.metadata) for task in tasks] == [{"kept": 1}, {}]
    assert tasks[1].hint == "h"
    assert [str(warning.message) for warning in caught] == [
        'prompts.jsonl:1: keys that nobody reads: "tags" (line 1), "a\\nb" (line 2), "expected" (line 2); '
        "`metadata` can hold them"
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
KEYS = ("id", "input", "hint", "reference", "metadata", "timeout", "expected", "x")
LINES = st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, JSON)).map(json.dumps) | st.text()


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(LINES, max_size=3).map("\n".join))
def test_any_text_gives_an_entry_a_line_or_one_error_line(text: str) -> None:
    try:
        with warnings.catch_warnings(action="ignore"):
            entries = list(read_jsonl(Source("prompts.jsonl", text)))
    except CorpusError as error:
        message = str(error)
    else:
        message = "prompts.jsonl: no error"
        assert len(entries) == sum(bool(line.strip()) for line in text.split("\n"))
    assert message.startswith("prompts.jsonl:")
    assert "\n" not in message
