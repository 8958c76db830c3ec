from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from pytest_agentcap.credentials import find_key, secret_values
from pytest_agentcap.fixtures import SETTINGS

KEY = "sk-do-not-store-0123456789"
ANSWER = {
    "id": "x",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": f"your key is {KEY}"}, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 5, "completion_tokens": 6},
}


def test_the_key_reaches_the_upstream_and_nothing_else(project, monkeypatch, http_upstream):
    monkeypatch.setenv("AGENTCAP_API_KEY", KEY)
    project.write_shell_agent()
    # The upstream tells the key to the agent, which prints it; the agent sends its own address as a prompt.
    project.write_tasks("env; echo $AGENTCAP_PROXY_URL >&2; python3 call $AGENTCAP_PROXY_URL; exit 3")
    with http_upstream(lambda path: (200, json.dumps(ANSWER).encode())) as upstream:
        options = ("--agent", "shell", "--sandbox", "host", "--model", "m", "--upstream", upstream.url)
        result = project.pytest(*options, "--junitxml=report.xml", "-n2")
    result.assert_outcomes(failed=1)
    # The preflight, what run.json says of the model server, and the agent's one call.
    told = ["/props", "/v1/models", "/version", "/info"]
    assert [path for path, _ in upstream.seen] == ["/v1/models", *told, "/v1/chat/completions"]
    assert {headers["authorization"] for _, headers in upstream.seen} == {f"Bearer {KEY}"}
    [run] = project.runs()
    [capture] = run.glob("captures/*.request.json")
    request = json.loads(capture.read_bytes())
    assert "<lease>" in request["body"]["messages"][0]["content"]
    [response] = run.glob("captures/*.response.json")
    assert json.loads(response.read_bytes())["body"]["choices"][0]["message"]["content"].startswith(
        "your key is agentcap-redacted-"
    )
    errors = next(run.glob("sessions/*.err")).read_text()
    assert errors.endswith("/<lease>/v1\n")
    stored = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert len(stored) >= 6
    assert [path.name for path, data in stored.items() if KEY.encode() in data] == []
    assert KEY not in (project.path / "report.xml").read_text() + result.stdout.str()
    rows = pq.read_table(run / "captures.parquet").to_pylist()
    assert KEY not in str(rows)
    assert "agentcap-redacted-" in rows[0]["response"]


@pytest.mark.parametrize(
    ("upstream", "environment", "source"),
    [
        ("https://router.huggingface.co/v1", {"HF_TOKEN": "hf_1", "OPENAI_API_KEY": "sk-1"}, "HF_TOKEN"),
        ("https://router.huggingface.co", {"HF_TOKEN": "hf_1", "AGENTCAP_API_KEY": "a"}, "AGENTCAP_API_KEY"),
        ("https://api.openai.com/v1", {"HF_TOKEN": "hf_1", "OPENAI_API_KEY": "sk-1"}, "OPENAI_API_KEY"),
        ("http://mine/v1", {"OPENAI_BASE_URL": "http://mine/v1", "OPENAI_API_KEY": "sk-1"}, "OPENAI_API_KEY"),
        ("http://other", {"HF_TOKEN": "hf_1", "OPENAI_API_KEY": "sk-1"}, None),
        ("https://router.huggingface.co.evil.example", {"HF_TOKEN": "hf_1"}, None),
        ("scripted", {"AGENTCAP_API_KEY": "a"}, None),
    ],
)
def test_a_key_goes_only_to_the_upstream_it_belongs_to(project, pytester, monkeypatch, upstream, environment, source):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    config = pytester.parseconfigure("-p", "agentcap", "--agent", "loop", "--model", "m", "--upstream", upstream)
    settings = config.stash[SETTINGS]
    key = find_key(settings.upstream, settings.api_key)
    assert (key.source if key else None) == source
    if key:
        assert key.value not in repr(key)
        assert key.value in secret_values(settings, key)


def test_the_option_wins_and_no_mask_masks_nothing(project, pytester, monkeypatch):
    monkeypatch.setenv("AGENTCAP_API_KEY", "from-the-environment")
    args = ("-p", "agentcap", "--agent", "loop", "--model", "m", "--upstream", "http://u", "--api-key", "given-key")
    settings = pytester.parseconfigure(*args).stash[SETTINGS]
    key = find_key(settings.upstream, settings.api_key)
    assert key is not None
    assert (key.value, key.source) == ("given-key", "--api-key")
    assert set(secret_values(settings, key)) == {"given-key", "from-the-environment"}
    settings = pytester.parseconfigure(*args, "--no-mask").stash[SETTINGS]
    assert secret_values(settings, key) == ()
