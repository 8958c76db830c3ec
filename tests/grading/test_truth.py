"""Expected values come from a pristine checkout, answers from a copy of what the agent left."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_agentcap.corpus.repotask import CommandPolicy, Oracle, Output, Repository, RepoTask, Scoring
from pytest_agentcap.grading.base import GraderError
from pytest_agentcap.grading.scoring import Facts, score
from pytest_agentcap.grading.truth import Truth

OWN = """
import json


def titles(*, repo_root, under):
    print("noise on stdout")
    return sorted(path.name for path in (repo_root / under).iterdir())


def broken(*, repo_root):
    return 1 / 0


def fits(*, repo_root):
    return json.loads((repo_root / "eval_artifacts/answer.json").read_text())["n"] == len(list(repo_root.iterdir()))
"""


class Place:
    """A corpus, a pristine checkout, and what an agent left of a copy of it."""

    def __init__(self, root: Path) -> None:
        self.root, self.checkout, self.frozen = root / "corpus", root / "checkout", root / "frozen"
        for folder in (self.checkout, self.frozen):
            (folder / "docs").mkdir(parents=True)
            (folder / "docs/a.md").write_text("a")
        self.root.mkdir()
        (self.root / "own.py").write_text(OWN)

    def task(self, *outputs: Output, **fields: Any) -> RepoTask:
        return RepoTask(Repository("shop", "/srv/shop", "main"), self.root, outputs, **fields)

    def answer(self, value: Any) -> None:
        text = value if isinstance(value, str) else json.dumps(value)
        (self.frozen / "eval_artifacts").mkdir(exist_ok=True)
        (self.frozen / "eval_artifacts/answer.json").write_text(text)

    def check(self, *outputs: Output, **fields: Any):
        return Truth.of(self.task(*outputs, **fields), self.checkout).check(self.frozen)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def literal(expected: Any, comparator: Any, **fields: Any) -> Output:
    return Output("v", expected=expected, comparator=comparator, **fields)


def test_comparators(place):
    cases = [
        (literal(1, "equals"), 1.0, True),
        (literal(1, "equals"), True, False),
        (literal("a", "equals"), "a ", False),
        (literal({"a": [1, None]}, "equals"), {"a": [1.0, None]}, True),
        (literal([1, 2], "equals"), [2, 1], False),
        (literal(0.1 + 0.2, "approx"), 0.3, True),
        (literal(100, "approx", rel=0.01), 101, True),
        (literal(100, "approx"), 101, False),
        (literal(0, "approx", abs=0.5), 0.4, True),
        (literal(1, "approx"), "1", False),
        (literal(1, "approx"), True, False),
        (literal(["a", {"b": 1}], "set"), [{"b": 1.0}, "a", "a"], True),
        (literal(["a"], "set"), ["a", "b"], False),
        (literal(["a"], "set"), "a", False),
        (literal(r"v\d+\.\d+", "regex"), "v1.20", True),
        (literal(r"v\d+", "regex"), "v1.20", False),
        (literal(r"\d+", "regex"), 12, False),
        (literal({"type": "array", "minItems": 2}, "json-schema"), [1, 2], True),
        (literal({"type": "array", "minItems": 2}, "json-schema"), [1], False),
        # Beyond all floats: wrong, and no failure of the comparator.
        (literal(1, "approx"), 10**400, False),
        (literal(10**400, "approx"), 10**400, True),
        (literal({"multipleOf": 0.5}, "json-schema"), 10**400, False),
        (literal(1, "equals"), 10**400, False),
        (literal(["a"], "set"), [], False),
        (literal([], "set"), [], True),
        (literal("a|", "regex"), "", True),
        (literal("a|b", "regex"), "ab", False),
        (literal(None, "equals"), None, True),
        (literal(None, "equals"), False, False),
    ]
    outputs = [replace(output, key=str(number)) for number, (output, _, _) in enumerate(cases)]
    place.answer({str(number): actual for number, (_, actual, _) in enumerate(cases)})
    checks = place.check(*outputs)
    assert [check.ok for check in checks] == [ok for _, _, ok in cases]
    assert [check.actual for check in checks] == [actual for _, actual, _ in cases]
    assert not any(check.problem for check in checks)


def test_an_agent_that_changes_the_repository_does_not_move_the_truth(place):
    (place.frozen / "docs/b.md").write_text("b")
    place.answer({"n": 2})
    (check,) = place.check(Output("n", oracle=Oracle("dir_top_entry_count", {"path": "docs"})))
    assert (check.ok, check.expected, check.actual) == (False, 1, 2)


def test_functions_of_the_corpus_are_oracles(place):
    place.answer({"t": ["a.md"]})
    (check,) = place.check(Output("t", oracle=Oracle("own:titles", {"under": "docs"}), comparator="set"))
    assert check.ok


@pytest.mark.parametrize(
    ("fn", "args", "said"),
    [
        ("own:broken", {}, r"own:broken of the output 'v' failed: ZeroDivisionError"),
        ("own:absent", {}, "AttributeError"),
        ("absent:f", {}, "ModuleNotFoundError"),
        ("glob_count", {"pattern": "*"}, "TypeError"),
    ],
)
def test_an_oracle_that_cannot_tell_is_no_failure_of_the_agent(place, fn, args, said):
    with pytest.raises(GraderError, match=said):
        Truth.of(place.task(Output("v", oracle=Oracle(fn, args))), place.checkout)


@pytest.mark.parametrize("comparator", ["approx", "set", "regex"])
def test_a_value_that_no_answer_can_be_compared_with_is_told_before_anything_runs(place, comparator):
    own = Oracle("own:titles", {"under": "docs"}) if comparator != "set" else Oracle("top_level_entry_count")
    with pytest.raises(GraderError, match=r"the output 'v': its oracle's value is no"):
        Truth.of(place.task(Output("v", oracle=own, comparator=comparator)), place.checkout)


def test_a_function_of_the_corpus_leaves_no_trace_in_what_sessions_start_from(place):
    (place.root / "own.py").write_text("def f(*, repo_root):\n    (repo_root / 'new').write_text('')\n    return 1\n")
    Truth.of(place.task(Output("v", oracle=Oracle("own:f"))), place.checkout)
    assert not (place.checkout / "new").exists()


def test_a_module_of_the_corpus_takes_the_place_of_nothing(place):
    (place.root / "json.py").write_text("raise SystemExit('planted')")
    place.answer({"t": ["a.md"]})
    assert place.check(Output("t", oracle=Oracle("own:titles", {"under": "docs"})))[0].ok


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (None, "eval_artifacts/answer.json is missing"),
        ("{", "eval_artifacts/answer.json is not valid JSON"),
        ('{"v": NaN}', "eval_artifacts/answer.json is not valid JSON"),
        ('{"v": 1e999}', "eval_artifacts/answer.json is not valid JSON"),
        ("[1]", "eval_artifacts/answer.json is not a JSON object"),
        ('{"w": 1}', "eval_artifacts/answer.json has no 'v'"),
        ("1" * (1 << 20) + "1", "eval_artifacts/answer.json has more than 1048576 bytes"),
        ("[" * 200_000, "eval_artifacts/answer.json is not valid JSON"),
        (r'{"v": "\ud800"}', None),
        ('{"v": ' + "[" * 900 + "]" * 900 + "}", "eval_artifacts/answer.json is nested deeper than 100 levels"),
    ],
)
def test_answers_that_are_none_say_why(place, answer, problem):
    if answer is not None:
        place.answer(answer)
    (check,) = place.check(literal(1, "equals"))
    assert (check.ok, check.problem) == (False, problem)


def test_what_judges_an_answer_sees_a_pristine_tree_with_the_answers_alone(place):
    place.answer({"n": 2})
    (place.frozen / "third").write_text("not the agent's to write")
    (check,) = place.check(Output("ok", type="oracle_bool", oracle=Oracle("own:fits")))
    assert (check.ok, check.expected, check.actual) == (True, True, True)
    everywhere = CommandPolicy(write_paths=("./",))
    (check,) = place.check(Output("ok", type="oracle_bool", oracle=Oracle("own:fits")), policy=everywhere)
    assert (check.ok, check.actual) == (False, False)


def test_links_of_the_repository_lead_no_answer_out_of_the_copy(place, tmp_path):
    (tmp_path / "mine").write_text("untouched")
    (place.checkout / "eval_artifacts").mkdir()
    (place.checkout / "eval_artifacts/answer.json").symlink_to(tmp_path / "mine")
    place.answer({"n": 2})
    assert place.check(Output("ok", type="oracle_bool", oracle=Oracle("own:fits")))[0].ok
    assert (tmp_path / "mine").read_text() == "untouched"


def test_the_points_are_agentgyms():
    facts = Facts(partial=1.0, commands=4, commands_ok=4, violations=0)
    assert score(Scoring(), facts).total == 100
    some = score(Scoring(), Facts(partial=0.5, commands=10, commands_ok=8, violations=1))
    assert some.parts == {"success": 0, "partial": 10, "valid_commands": 8, "efficiency": 5, "safety": -10}
    assert some.total == 13
    assert score(Scoring(), Facts(0.0, 0, 0, 0)).total == 20
    assert score(Scoring(), Facts(1.0, 4, 4, 99)).total == 0
    assert score(Scoring("oracles"), Facts(0.25, 50, 1, 9)).total == 25
    assert score(Scoring(weights={"success_points": 40}), facts).total == 80
