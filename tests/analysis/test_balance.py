from __future__ import annotations

import json

import pytest

from pytest_agentcap.cli import main


@pytest.fixture
def balance(write_rows, capsys):
    def run(*metadata, options=(), **more):
        rows = ({"id": f"t{n}", "input": "q", "metadata": each, **more} for n, each in enumerate(metadata))
        assert main(["balance", write_rows("p.jsonl", *rows), *options]) == 0
        told = capsys.readouterr()
        return json.loads(told.out), told.err

    return run


def test_shares_are_rounded_and_small_categories_named(balance):
    told, said = balance(*[{"category": "big"}] * 7, {"category": "small"}, {"category": None})
    assert [(each["name"], each["percentage"]) for each in told["categories"]] == [
        ("big", 78),
        ("small", 11),
        ("null", 11),
    ]
    assert told["underrepresented"] == ["small", "null"]
    assert "Consider adding more test cases for: small, null" in told["suggestions"]
    assert "  big: 7 (78%) ████████████████\n" in said


def test_another_key_and_threshold_may_be_asked_for(balance):
    told, _ = balance({"level": 1}, {"level": 2}, {"level": 2}, {}, options=("-k", "level", "-t", "0"))
    assert [each["name"] for each in told["categories"]] == ["2", "1", "(uncategorized)"]
    assert told["underrepresented"] == []


def test_polarity_is_counted_with_its_gaps(balance):
    told, said = balance(
        {"category": "a", "polarity": "positive"},
        {"category": "a", "polarity": "negative"},
        {"category": "b", "polarity": "positive"},
        {"category": "b"},
    )
    assert told["polarity"]["counts"] == {"positive": 2, "negative": 1, "edge": 0}
    assert told["polarity"]["unlabelled"] == 1
    assert told["polarity"]["gaps"] == [
        {"category": "a", "missing": ["edge"]},
        {"category": "b", "missing": ["negative", "edge"]},
    ]
    assert "Category 'b' has no negative case" in told["suggestions"]
    assert "Polarity: positive 2, negative 1, edge 0, unlabelled 1" in said


def test_a_corpus_without_polarities_is_told_as_ever(balance):
    told, _ = balance({"category": "a"})
    assert set(told) == {"totalCases", "categories", "underrepresented", "suggestions"}


def test_a_threshold_that_is_no_number_is_refused(write_rows):
    with pytest.raises(SystemExit, match="2"):
        main(["balance", write_rows("p.jsonl"), "-t", "abc"])


def test_the_old_name_of_a_hint_is_told_once(write_rows, capsys):
    rows = [{"id": name, "input": "q", "expected": "x"} for name in "ab"]
    assert main(["balance", write_rows("p.jsonl", *rows)]) == 0
    assert capsys.readouterr().err.count("p.jsonl:1: the key `expected` is deprecated") == 1
