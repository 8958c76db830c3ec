from __future__ import annotations

import json

import pytest

from pytest_agentcap.grading.base import GraderError
from pytest_agentcap.judging import judge_of_environment

ANSWER = {"choices": [{"message": {"content": '{"pass": false, "score": 0.5, "reasoning": "it says little"}'}}]}


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in ("MODEL", "UPSTREAM", "API_KEY"):
        monkeypatch.delenv(f"AGENTCAP_JUDGE_{name}", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def test_the_options_name_a_judge_whose_calls_are_not_captured(project, http_upstream, monkeypatch, tmp_path):
    monkeypatch.setenv("AGENTCAP_JUDGE_API_KEY", "sk-judge-0123456789")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    project.write_tasks("say hello")
    project.write("rubric.md", "It says hello, and no more.\n")
    fixture = "import pytest\n\n\n@pytest.fixture\ndef grader():\n    return {'contains': {'any': ['hello', 'no']}}\n"
    project.write("conftest.py", fixture)
    with http_upstream(lambda path: (200, json.dumps(ANSWER).encode())) as server:
        options = ("--judge-model", "org/judge", f"--judge-upstream={server.url}", "--grader=llm-judge:@rubric.md")
        project.capture(*options).assert_outcomes(failed=1)
    [result] = project.results()
    contains, judged = result["graders"]
    assert (contains["name"], contains["passed"]) == ("contains", True)
    assert (judged["name"], judged["passed"], judged["score"]) == ("llm-judge", False, 0.5)
    assert result["reason"] == "llm-judge: it says little"
    [(path, headers)] = server.seen
    assert (path, headers["authorization"]) == ("/v1/chat/completions", "Bearer sk-judge-0123456789")
    assert len(result["request_ids"]) == 1
    [run] = project.runs()
    files = [each for each in run.rglob("*") if each.is_file()]
    assert not [each for each in files if b"sk-judge" in each.read_bytes()]


def test_a_judge_without_a_model_is_one_line_before_anything_runs(project):
    project.write_tasks("say hello")
    done = project.capture("--grader", "llm-judge:Be strict.")
    assert done.ret == 4
    done.stderr.fnmatch_lines(["ERROR: agentcap: --grader: grader llm-judge: which model judges? pass --judge-model *"])


def test_the_environment_may_name_the_judge(monkeypatch):
    assert judge_of_environment() is None
    monkeypatch.setenv("AGENTCAP_JUDGE_MODEL", "org/judge")
    with pytest.raises(GraderError, match="needs its server: pass --judge-upstream URL"):
        judge_of_environment()
    monkeypatch.setenv("AGENTCAP_JUDGE_UPSTREAM", "http://127.0.0.1:9/v1/")
    judge = judge_of_environment()
    assert judge is not None
    assert (judge.model, judge.upstream.url, judge.upstream.api_key) == ("org/judge", "http://127.0.0.1:9/v1", None)
    monkeypatch.setenv("AGENTCAP_JUDGE_UPSTREAM", "nowhere")
    with pytest.raises(GraderError, match="AGENTCAP_JUDGE_UPSTREAM: 'nowhere' is no model server"):
        judge_of_environment()
