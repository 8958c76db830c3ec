from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_agentcap.corpus.ids import assign_ids, task_id
from pytest_agentcap.corpus.reader import read_corpus

PROMPTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def slug(prompt: str) -> str:
    return task_id(prompt).rpartition("-")[0]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("Say hello.", "say-hello"),
        ("Don't panic, it’s fine", "dont-panic-its-fine"),
        ("Crème brûlée Nº 2 — ﬁne", "creme-brulee-no-2-fine"),
        ("Fix generate() in modeling_llama.py, please, and run the tests", "fix-generate-in-modeling-llama-py-please"),
        ("x" * 100, "x" * 40),
        ("a " + "x" * 100, "a"),
        ("日本語だけ", "task"),
        ("12 + 30 = ?", "task"),
        ("../../etc/passwd", "etc-passwd"),
    ],
)
def test_a_slug_is_the_first_words_in_ascii(prompt: str, expected: str) -> None:
    assert slug(prompt) == expected


def test_the_hash_is_of_the_whole_prompt() -> None:
    prompt = "Say hello. " * 20

    assert task_id(prompt).endswith("-" + hashlib.blake2b(prompt.encode(), digest_size=3).hexdigest())
    assert task_id(prompt) != task_id(prompt + "!")


def test_ids_of_a_prompt_never_change() -> None:
    assert task_id("Say hello.") == "say-hello-42ea2a"


def test_the_same_prompt_again_gets_an_ordinal_in_order() -> None:
    first = task_id("x")

    assert assign_ids([(None, "x"), (None, "y"), (None, "x"), (None, "x")]) == (
        first,
        task_id("y"),
        f"{first}-2",
        f"{first}-3",
    )


def test_safe_explicit_ids_stay_and_others_become_a_slug_with_a_hash() -> None:
    kept, spaced, foreign = assign_ids([("HumanEval_12.v-1", "x"), ("my task/1", "x"), ("日本", "x")])

    assert kept == "HumanEval_12.v-1"
    assert re.fullmatch(r"my-task-1-[0-9a-f]{10}", spaced)
    assert re.fullmatch(r"unnamed-[0-9a-f]{10}", foreign)


def test_an_explicit_id_does_not_count_for_the_ordinals_of_derived_ones() -> None:
    assert assign_ids([("other", "x"), (None, "x")]) == ("other", task_id("x"))


def test_ids_stay_when_lines_are_inserted_above(tmp_path: Path) -> None:
    path = tmp_path / "tasks.txt"
    path.write_text("Say hello.\nSay bye.\n")
    before = [task.id for task in read_corpus(path, root=tmp_path)]

    path.write_text("# new\nCount to ten.\n\nSay hello.\nSay bye.\n")

    assert [task.id for task in read_corpus(path, root=tmp_path)][1:] == before


@settings(deadline=None)
@given(PROMPTS)
def test_an_id_is_short_ascii(prompt: str) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*-[0-9a-f]{6}", task_id(prompt))
    assert len(task_id(prompt)) <= 47


@settings(deadline=None)
@given(st.lists(PROMPTS, max_size=8))
def test_derived_ids_are_unique(prompts: list[str]) -> None:
    ids = assign_ids((None, prompt) for prompt in [*prompts, *prompts])

    assert len(set(ids)) == len(ids)
