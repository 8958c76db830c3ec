from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_agentcap.text import printable, reindent

anything = st.text(st.characters(exclude_categories=()))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | anything,
    lambda inner: st.lists(inner) | st.dictionaries(anything, inner),
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 漢字 🙂\n\tend", "plain é 漢字 🙂\n\tend"),
        ("\x1b[2J\x1b]0;title\x07", "\\u001b[2J\\u001b]0;title\\u0007"),
        ("\x9b31m", "\\u009b31m"),
        ("over\rwrite\x08\x7f", "over\\u000dwrite\\u0008\\u007f"),
        ("\u202egnp.exe\u2066", "\\u202egnp.exe\\u2066"),
        ("a\u2028b", "a\\u2028b"),
        ("\ud83d", "\\ud83d"),
        ("\U000e0041", "\\udb40\\udc41"),
    ],
)
def test_what_steers_a_terminal_or_hides_text_is_shown_as_an_escape(text, shown):
    assert printable(text) == shown


@given(anything)
def test_printable_text_has_no_control_characters_and_can_be_encoded(text):
    shown = printable(text)
    shown.encode()
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") and c not in "\n\t"]


@given(json_values)
def test_printable_json_is_the_same_json(value):
    assert json.loads(printable(json.dumps(value, ensure_ascii=False))) == value


@given(json_values, st.sampled_from([None, 1, "\r\n"]))
def test_json_laid_out_is_what_json_dumps_lays_out(value, indent):
    assert reindent(json.dumps(value, indent=indent)) == json.dumps(value, indent=2)


def test_numbers_repeated_keys_and_escapes_keep_their_spelling():
    assert reindent(r'{"a":1e400,"a":-0.0,"b":"\ud800\/"}') == '{\n  "a": 1e400,\n  "a": -0.0,\n  "b": "\\ud800\\/"\n}'


@pytest.mark.parametrize("text", ['"open', "}}]", '{"a', "", "\\", '"\\'])
def test_text_that_is_no_json_keeps_its_tokens(text):
    assert reindent(text).replace("\n", "").replace(" ", "") == text


def test_deep_and_long_json_is_laid_out():
    assert len(reindent("[" * 50_000 + "]" * 50_000)) < 50_000_000
    assert reindent(json.dumps("x" * 5_000_000)) == json.dumps("x" * 5_000_000)
