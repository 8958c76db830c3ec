"""JSON Schemas of the files: what is read and written is valid by them, what is refused is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from pytest_agentcap.agents.headless_schema import HeadlessSchema
from pytest_agentcap.cli import main
from pytest_agentcap.schemas import DRAFT, NAMES, schema_of

ROOT = Path(__file__).parents[1]
# What agent-eval-harness 0.12.2 exports.
ORIGINAL = [
    "PromptCase", "GraderResult", "TrajectoryStep", "CaptureResult", "SummaryResult", "TrialEntry", "TrialResult",
    "CalibrationSample", "BalanceAnalysis", "ValidationResult", "McpServerConfig", "Session", "JsonRpcRequest",
    "JsonRpcResponse", "JsonRpcError",
]  # fmt: skip
STEP = {"type": "message", "content": "o", "timestamp": 5}
SCORE = {"pass": True, "score": 1, "reasoning": "r", "outcome": {"n": 1}}
TIMING = {"start": 0, "end": 1, "sessionCreation": 0, "total": 1}
ROWS: dict[str, Any] = {
    "PromptCase": {"id": "a", "input": ["q", "r"], "hint": "h", "reference": "x", "metadata": {}, "timeout": 5},
    "GraderResult": SCORE,
    "TrajectoryStep": STEP,
    "CaptureResult": {
        "id": "a", "input": "q", "output": "o", "trajectory": [STEP], "metadata": {}, "timing": TIMING,
        "toolErrors": False, "score": SCORE, "errors": ["e"],
    },
    "SummaryResult": {"id": "a", "input": "q", "output": "o", "toolCalls": ["Read"], "duration": 1.5},
    "TrialEntry": {"trialNum": 1, "output": "o", "trajectory": [], "duration": 1, "pass": True, "score": 1},
    "TrialResult": {"id": "a", "input": "q", "k": 1, "trials": [], "passRate": 0, "passAtK": 0, "passExpK": 0},
    "CalibrationSample": {"id": "a", "input": "q", "output": "o", "originalScore": SCORE, "trajectorySnippet": [STEP]},
    "BalanceAnalysis": {"totalCases": 0, "categories": [], "underrepresented": [], "suggestions": []},
    "McpServerConfig": {"type": "http", "name": "n", "url": "u", "headers": [{"name": "a", "value": "b"}]},
    "Session": {"id": "s", "_meta": None},
    "JsonRpcRequest": {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}},
    "JsonRpcResponse": {"jsonrpc": "2.0", "id": 1, "result": {}},
    "JsonRpcError": {"code": -32601, "message": "m"},
    "RawOutput": {"id": "a", "input": "q", "rawLines": ["{}"], "timing": {"start": 0, "end": 1, "total": 1}},
}  # fmt: skip


def check(name: str, value: Any) -> None:
    jsonschema.Draft202012Validator(schema_of(name)).validate(value)


@pytest.mark.parametrize("name", NAMES)
def test_every_schema_is_one_of_its_draft(name):
    schema = schema_of(name)
    assert (schema["$schema"], schema["title"]) == (DRAFT, name)
    jsonschema.Draft202012Validator.check_schema(schema)


def test_the_originals_schemas_come_first():
    assert list(NAMES[: len(ORIGINAL)]) == ORIGINAL


@pytest.mark.parametrize("name", ROWS)
def test_rows_of_agent_eval_harness_are_valid(name):
    check(name, ROWS[name])


# What a grader adds to its score is its own affair.
@pytest.mark.parametrize("name", [name for name in ROWS if name in ORIGINAL and name != "GraderResult"])
def test_an_unknown_field_is_not(name):
    with pytest.raises(jsonschema.ValidationError):
        check(name, {**ROWS[name], "unknown": 1})


@pytest.mark.parametrize("score", [-0.1, 1.1, "1", None])
def test_a_score_is_a_number_from_0_to_1(score):
    with pytest.raises(jsonschema.ValidationError):
        check("GraderResult", {"pass": True, "score": score})


def test_shipped_agents_and_corpora_are_valid():
    import tomllib

    for path in ROOT.glob("agents/*/agent.toml"):
        check("AgentDefinition", tomllib.loads(path.read_text("utf-8")))
    for path in ROOT.glob("corpora/*/*.jsonl"):
        for line in path.read_text("utf-8").splitlines():
            check("PromptCase", json.loads(line))


def test_adapter_schemas_are_valid():
    adapter = {
        "version": 1, "name": "a", "command": ["a"], "sessionMode": "iterative", "prompt": {"flag": "-p"},
        "output": {"flag": "", "value": ""}, "result": {"matchPath": "$.type", "matchValue": "*", "contentPath": "$.r"},
        "historyTemplate": {"turnFormat": "{{input}}"}, "unknown": 1,
    }  # fmt: skip
    check("HeadlessAdapter", adapter)
    msgspec.convert(adapter, HeadlessSchema)
    with pytest.raises(jsonschema.ValidationError):
        check("HeadlessAdapter", {**adapter, "sessionMode": "both"})


def test_the_files_of_a_run_and_what_is_made_of_them_are_valid(project, monkeypatch, capsys):
    reference = {"reference": "touch made", "hint": "h", "metadata": {"category": "c"}}
    corpus = project.write_jsonl({"id": "a", "input": "make it", **reference}, {"id": "b", "input": "and that"})
    project.write("g.py", "def grade(cwd):\n    return {'pass': True, 'score': 0.5}\n")
    for trials in ("1", "2"):
        project.capture(corpus.name, "--grader", "g.py", "--trials", trials).assert_outcomes(passed=2 * int(trials))
    one, two = (str(run) for run in project.runs())
    monkeypatch.chdir(project.path)
    capsys.readouterr()
    for run in (one, two):
        check("RunManifest", json.loads(Path(run, "run.json").read_bytes()))
        for pattern, name in (("results/*", "SessionResult"), ("captures/*.request.json", "CaptureRequest"),
                              ("captures/*.response.json", "CaptureResponse")):  # fmt: skip
            paths = list(Path(run).glob(pattern))
            assert paths
            for path in paths:
                check(name, json.loads(path.read_bytes()))

    def told(*args: str) -> list[dict[str, Any]]:
        assert main([*args]) == 0
        text = capsys.readouterr().out
        return [json.loads(text)] if text.startswith("{\n") else [json.loads(line) for line in text.splitlines()]

    for name, args in (
        ("CaptureResult", ["format", one]),
        ("SummaryResult", ["summarize", one]),
        ("GradedResult", ["grade", one, "-g", "g.py"]),
        ("ValidationResult", ["validate-refs", corpus.name, "-g", "g.py"]),
        ("BalanceAnalysis", ["balance", corpus.name]),
        ("CaptureComparison", ["compare", f"one:{one}", f"two:{one}", "-s", "statistical"]),
        ("TrialsComparison", ["compare", f"one:{two}", f"two:{two}", "-s", "statistical"]),
    ):
        rows = told(*args)
        assert rows
        for row in rows:
            check(name, row)
    row = told("format", one)[0]
    assert (row["hint"], row["metadata"]["category"], row["score"]) == ("h", "c", {"pass": True, "score": 0.5})


def test_schemas_are_printed_and_written(tmp_path, capsys):
    assert main(["schemas"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [f"  - {name}" for name in NAMES]
    assert main(["schemas", "--json", "-o", str(tmp_path / "all.json")]) == 0
    assert json.loads((tmp_path / "all.json").read_bytes())["PromptCase"] == schema_of("PromptCase")
    assert main(["schemas", "-s", "-o", str(tmp_path / "each")]) == 0
    assert {path.stem for path in (tmp_path / "each").glob("*.json")} == set(NAMES)
    assert main(["schemas", "Unknown"]) == 2
    assert "there is no schema 'Unknown'" in capsys.readouterr().err
