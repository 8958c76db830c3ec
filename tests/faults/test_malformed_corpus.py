"""A thousand corpora of which one line is broken: each is refused by one line that names it."""

from __future__ import annotations

import random

import pytest

from pytest_agentcap.corpus.reader import CorpusError, read_corpus

LINES = 1000
GOOD = '{"id": "t%d", "input": "Say hello", "metadata": {"n": 1}, "timeout": 1000}'
REPLACED = ("null", "[]", '""', "{}", "1e999", "NaN", '{"input": 7}', '{"input": ""}', '{"input": []}', '{"id": "x"}')


def broken(number: int) -> str:
    """Return a line that is no task: cut, with a character that does not belong there, or something else altogether."""
    draw = random.Random(number)
    line = GOOD % number
    kind = number % 3
    if kind == 0:
        return line[: draw.randrange(1, len(line))]
    if kind == 1:
        place = draw.randrange(1, len(line) - 1)
        return line[:place] + draw.choice("{}[]") + '"\\' + line[place:]
    return REPLACED[draw.randrange(len(REPLACED))]


def test_a_broken_line_is_named_whatever_is_wrong_with_it(tmp_path):
    path = tmp_path / "prompts.jsonl"
    for number in range(LINES):
        path.write_text(f"{GOOD % 1}\n{broken(number)}\n")
        with pytest.raises(CorpusError) as caught:
            read_corpus(path, root=tmp_path)
        said = str(caught.value)
        assert said.startswith("prompts.jsonl:2: "), (broken(number), said)
        assert len(said) < 500
        assert "\n" not in said


def test_a_corpus_of_a_thousand_broken_lines_starts_nothing_and_is_run_once_it_is_mended(project):
    path = project.write("prompts.jsonl", "\n".join(map(broken, range(LINES))))
    refused = project.capture()
    assert refused.ret == 2
    refused.stdout.fnmatch_lines(["prompts.jsonl:1: *"])
    assert len(refused.outlines) < 30
    assert not project.runs()
    path.write_text(GOOD % 1)
    project.capture().assert_outcomes(passed=1)
