from __future__ import annotations

import pytest

from pytest_agentcap.inspect.query import highlight, terms_of


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ("", ()),
        ("  chat  template ", ("chat", "template")),
        ("'exact ^begin end$ ^both$", ("exact", "begin", "end", "both")),
        ("'quoted' !not !^not !'not", ("quoted",)),
        ("one | two", ("one", "two")),
        (r"two\ words", ("two words",)),
        ("$ ^ '", ("$",)),
        ("again again", ("again",)),
    ],
)
def test_the_texts_of_a_query_are_found_among_its_signs(query, terms):
    assert terms_of(query) == terms


def found(text: str, *terms: str) -> str:
    return highlight(text, terms).replace("\x1b[1;31m", "<").replace("\x1b[0m", ">")


def test_terms_are_highlighted_where_they_stand():
    assert found("chat, Chat and chatter", "chat") == "<chat>, <Chat> and <chat>ter"
    assert found("chat and Chat", "Chat") == "chat and <Chat>"
    assert found("a.b axb", "a.b") == "<a.b> axb"
    assert found("template", "temp", "template") == "<template>"
    assert found("nothing") == "nothing"


@pytest.mark.parametrize("text", ["İstanbul x", "300 K x", "ß ẞ x", "\U0001f600 x"])
def test_characters_whose_lower_case_has_another_length_shift_nothing(text):
    assert found(text, "x") == text.replace("x", "<x>")
