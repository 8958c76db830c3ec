from __future__ import annotations

import json

import pytest

from pytest_agentcap.cli import main

STEPS = ["sandbox", "first turn", "calls captured", "tool call run", "second turn", "session goes on"]
STEPS += ["trace kept", "reply read"]


@pytest.fixture
def check(project, monkeypatch, capsys, tmp_path):
    """Run the check on the host and return its exit status, its findings by step, and where it kept what failed."""
    monkeypatch.chdir(project.path)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))

    def run(name: str):
        status = main(["agents", "check", name, "--sandbox", "host", "--json"])
        told = json.loads(capsys.readouterr().out)
        assert told["works"] is (status == 0)
        findings = {finding["step"]: finding for finding in told["findings"]}
        return status, findings, list((tmp_path / "temporary").glob("agentcap-check-*"))

    return run


def write_agent(project, name: str, change: tuple[str, str] = ("", "")) -> None:
    """Write the agent `loop` under another name, with one text of its definition changed."""
    from pytest_agentcap.shipped import packaged

    shipped = (packaged("agents") / "loop" / "agent.toml").read_text()
    assert change[0] in shipped
    project.write(f"agents/{name}/agent.toml", shipped.replace('"loop"', f'"{name}"', 1).replace(*change))


def failed(findings) -> set[str]:
    return {step for step, finding in findings.items() if finding["works"] is False}


def test_every_step_of_an_agent_that_works_is_ok(project, check, monkeypatch):
    # What the folder says of pytest and of agentcap is no part of the check.
    project.write("pytest.ini", "[pytest]\naddopts = --no-such-option\nagentcap_turns = 7\n")
    project.write("conftest.py", "raise SystemExit('not to be loaded')")
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")
    status, findings, kept = check("loop")
    assert status == 0
    assert list(findings) == STEPS
    assert all(finding["works"] for finding in findings.values()), findings
    assert kept == []


def test_the_check_is_told_line_by_line(project, monkeypatch, capsys):
    monkeypatch.chdir(project.path)
    assert main(["agents", "check", "loop", "--sandbox", "host"]) == 0
    told = capsys.readouterr()
    assert told.err.startswith("agentcap: checking loop 1 on host\n")
    lines = told.out.splitlines()
    assert lines[0].split() == ["STEP", "LOOP"]
    assert [line[:2] for line in lines[1:]] == ["ok"] * 8


def test_an_agent_that_forgets_its_first_turn_is_found_out(project, check):
    write_agent(project, "forgetful", ('"--session", "{{session}}", "--resume"]', '"--session", "another"]'))
    status, findings, kept = check("forgetful")
    assert status == 1
    assert failed(findings) == {"session goes on"}
    assert findings["session goes on"]["said"] == "turn 2 does not carry turn 1"
    assert len(kept) == 1
    assert list(kept[0].glob(".agentcap/*/captures.parquet"))


def test_an_agent_that_calls_somebody_else_has_no_captures(project, check):
    write_agent(project, "astray", ("{{base_url}}", "http://127.0.0.1:9/v1"))
    status, findings, _ = check("astray")
    assert status == 1
    assert failed(findings) == set(STEPS) - {"sandbox", "trace kept"}


def test_a_reply_and_a_trace_that_are_elsewhere_are_missed(project, check):
    write_agent(project, "silent", ("[environment]", '[reply]\nfile = "{{home}}/nothing"\n\n[environment]'))
    path = project.path / "agents/silent/agent.toml"
    path.write_text(path.read_text().replace(".loop/sessions/", ".loop/elsewhere/"))
    status, findings, _ = check("silent")
    assert status == 1
    assert failed(findings) == {"reply read", "trace kept"}


def test_what_a_definition_does_without_is_no_failure(project, check):
    write_agent(project, "once", ('[trace]\npaths = ["{{home}}/.loop/sessions/{{session}}.jsonl"]\n', ""))
    path = project.path / "agents/once/agent.toml"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("next =")]
    text = "\n".join(lines).replace("[command]", "[command]\nnext = []").replace('id = "chosen"', 'id = "none"')
    path.write_text(text.replace("{{session}}", "only"))
    status, findings, _ = check("./agents/once")
    assert (status, failed(findings)) == (0, set())
    without = {step for step, finding in findings.items() if finding["works"] is None}
    assert without == {"second turn", "session goes on", "trace kept"}


SCHEMA = {
    "version": 1,
    "name": "own",
    "command": ["python3", "own.py"],
    "sessionMode": "iterative",
    "prompt": {"stdin": True},
    "output": {"flag": "", "value": ""},
    "result": {"matchPath": "$.type", "matchValue": "done", "contentPath": "$.text"},
}
PROGRAM = """
import json, os, urllib.request
body = {"model": os.environ["ANTHROPIC_MODEL"], "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}
url = os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages"
request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
text = json.load(urllib.request.urlopen(request))["content"][0]["text"]
print(json.dumps({"type": "done", "text": text}))
"""


def test_an_adapter_may_speak_any_api(project, check):
    project.write("own.json", json.dumps(SCHEMA))
    project.write("own.py", PROGRAM)
    _, findings, _ = check("./own.json")
    assert findings["calls captured"]["said"] == "2 of the API 'messages'"
    assert findings["calls captured"]["works"] is True


def test_an_agent_that_is_not_installed_ends_at_the_sandbox(project, check):
    write_agent(project, "absent", ('executable = "python3"', 'executable = "no-such-program"'))
    status, findings, kept = check("absent")
    assert (status, list(findings), kept) == (1, ["sandbox"], [])
    assert (
        findings["sandbox"]["said"]
        == "no-such-program is not on PATH: install it, or use --sandbox podman if it has an image"
    )


def test_an_unknown_agent_is_no_check(project, monkeypatch, capsys):
    monkeypatch.chdir(project.path)
    assert main(["agents", "check", "nobody"]) == 2
    assert "no agent is called 'nobody'" in capsys.readouterr().err
