from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_agentcap.runs.names import safe_name

HASH = r"[0-9a-f]{10}"


@pytest.mark.parametrize("name", ["a", "_private", "HumanEval_12", "v1.0-rc.2", "x" * 80])
def test_a_safe_name_stays(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("", "unnamed"),
        (".", "unnamed"),
        ("..", "unnamed"),
        ("-rf", "rf"),
        (".hidden", "hidden"),
        ("a/b\\c", "a-b-c"),
        ("../../etc/passwd", "etc-passwd"),
        ("a\n", "a"),
        ("a\0b", "a-b"),
        ("Crème brûlée", "Creme-brulee"),
        ("日本", "unnamed"),
        ("\ud800", "unnamed"),
        ("x" * 81, "x" * 69),
    ],
)
def test_any_other_name_becomes_a_slug_with_a_hash(name: str, slug: str) -> None:
    assert re.fullmatch(f"{re.escape(slug)}-{HASH}", safe_name(name))


def test_different_names_with_the_same_slug_stay_apart() -> None:
    assert len({safe_name(name) for name in ("a b", "a/b", "a  b", "á b", "a-b")}) == 5


@settings(deadline=None)
@given(st.text(st.characters()))
def test_the_result_is_a_file_name_and_its_own_safe_name(name: str) -> None:
    safe = safe_name(name)

    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,79}", safe)
    assert safe_name(safe) == safe
