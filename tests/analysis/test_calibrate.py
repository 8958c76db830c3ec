from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from pytest_agentcap.analysis.calibrate import agreement_of
from pytest_agentcap.cli import main
from pytest_agentcap.formats.report_rows import CalibrationLabel
from pytest_agentcap.schemas import schema_of


@pytest.fixture
def results(write_rows, capture_of):
    return write_rows("r.jsonl", *(capture_of(f"t{n}", 1.0 if n % 2 else 0.0) for n in range(20)), capture_of("none"))


def titles(path: str) -> list[str]:
    lines = Path(path).read_text().splitlines()
    return [line.partition(": ")[2] for line in lines if line.startswith("## Sample")]


def test_failures_are_drawn_and_passes_where_they_are_asked_for(results):
    assert main(["calibrate", results, "-s", "3", "-o", "one.md"]) == 0
    assert main(["calibrate", results, "-s", "3", "-o", "two.md", "--passes", "2"]) == 0
    assert len(titles("one.md")) == 3
    assert all(int(title[1:]) % 2 == 0 for title in titles("one.md"))
    assert len(titles("two.md")) == 5
    assert "Valid pass" in Path("two.md").read_text()
    assert "Valid pass" not in Path("one.md").read_text()


def test_the_seed_draws_the_same_samples_again(results):
    for name, seed in (("one", 1), ("two", 1), ("three", 2)):
        assert main(["calibrate", results, "-s", "4", "--seed", str(seed), "-o", f"{name}.md"]) == 0
    assert titles("one.md") == titles("two.md") != titles("three.md")


def test_without_failures_nothing_is_written(write_rows, capture_of, capsys):
    assert main(["calibrate", write_rows("r.jsonl", capture_of("a", 1.0), capture_of("b")), "-o", "c.md"]) == 0
    assert capsys.readouterr().err == "No failures found in results\n"
    assert not Path("c.md").exists()


def test_samples_are_graded_again(results):
    Path("g.py").write_text(
        "def grade(output, trajectory):\n    return {'pass': len(trajectory) == 1, 'score': 0.75}\n"
    )
    assert main(["calibrate", results, "-s", "1", "-g", "g.py", "-o", "c.md"]) == 0
    assert "**Re-scored:** PASS (0.75)" in Path("c.md").read_text()


def test_the_hint_stands_before_the_output_and_both_reasons_are_told(write_rows, capture_of):
    row = capture_of("a", hint="h", score={"pass": False, "score": 0, "reasoning": "first"})
    Path("g.py").write_text("def grade(output):\n    return {'pass': False, 'reasoning': 'second'}\n")
    assert main(["calibrate", write_rows("r.jsonl", row), "-g", "g.py", "-o", "c.md"]) == 0
    told = Path("c.md").read_text()
    assert "**Hint:** h\n\n**Output:** o\n" in told
    assert "**Reasoning:** first\n\n**Re-scored:** FAIL (0)\n**Re-score Reasoning:** second\n" in told


def test_ticked_boxes_come_back_as_agreement(results, capsys):
    assert main(["calibrate", results, "-s", "2", "--passes", "2", "-o", "c.md"]) == 0
    boxes = iter(["- [x] Valid failure", "- [x] Ambiguous", "- [X] Valid pass", "- [x] Grader bug"])
    parts = Path("c.md").read_text().split("**Review:**")
    ticked = [parts[0]]
    for part in parts[1:]:
        box = next(boxes)
        ticked.append(part.replace(box.replace("[x]", "[ ]").replace("[X]", "[ ]"), box, 1))
    Path("c.md").write_text("**Review:**".join(ticked))
    assert main(["calibrate", results, "--labels", "c.md"]) == 0
    told = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator(schema_of("Agreement")).validate(told)
    assert (told["labelled"], told["ambiguous"], told["agreement"]) == (3, 1, pytest.approx(2 / 3))
    assert told["confusion"] == {"bothPass": 1, "onlyGrader": 1, "onlyReviewer": 0, "bothFail": 1}


def test_labels_come_back_as_rows_too(results, write_rows, capsys):
    labels = write_rows("l.jsonl", {"id": "t0", "pass": False}, {"id": "t1", "pass": False}, {"id": "t2", "pass": None})
    assert main(["calibrate", results, "--labels", labels]) == 0
    assert json.loads(capsys.readouterr().out)["agreement"] == 0.5
    assert main(["calibrate", results, "--labels", write_rows("l.jsonl", {"id": "zz", "pass": True})]) == 2
    assert "l.jsonl:1: the results hold no graded 'zz'" in capsys.readouterr().err


def test_kappa_is_cohens_textbook_example():
    # 20 both yes, 5 and 10 apart, 15 both no: agreement 0.7, by chance 0.5, kappa 0.4.
    counts = {(True, True): 20, (True, False): 5, (False, True): 10, (False, False): 15}
    scores, labels = {}, []
    for (graded, judged), count in counts.items():
        for _ in range(count):
            name = str(len(scores))
            scores[name] = graded
            labels.append(CalibrationLabel(name, judged))
    told = agreement_of(scores, labels)
    assert (told.agreement, told.kappa) == (pytest.approx(0.7), pytest.approx(0.4))


def test_kappa_is_unknown_when_both_always_say_the_same():
    told = agreement_of({"a": True, "b": True}, [CalibrationLabel("a", True), CalibrationLabel("b", True)])
    assert (told.agreement, told.kappa) == (1.0, None)
    assert agreement_of({}, []).agreement is None
