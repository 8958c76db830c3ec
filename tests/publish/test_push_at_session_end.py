"""`--push` on pytest's command line."""

from __future__ import annotations

import json

import pytest
from secret_rule import LIVE

ANSWER = b'{"choices": [{"message": {"role": "assistant", "content": "hello"}}]}'


LOST = """
import os

def pytest_runtest_teardown():
    if "PYTEST_XDIST_WORKER" in os.environ:
        os._exit(3)
"""
INTERRUPTED = """
def pytest_runtest_logfinish():
    raise KeyboardInterrupt
"""


@pytest.fixture
def capture(project, http_upstream, hub):
    def run(*args, tasks=({"id": "hello", "input": "python3 call hello"},), place="me/demo", scan=("--no-scan",)):
        project.write_shell_agent()
        project.write_jsonl(*tasks)
        with http_upstream(lambda path: (200, ANSWER)) as upstream:
            chosen = ("--agent", "shell", "--sandbox", "host", "--model", "m", "--upstream", upstream.url)
            return project.pytest(*chosen, "--push", place, *scan, *args)

    return run


@pytest.mark.parametrize("workers", [(), ("-n2",)])
def test_captures_are_published_when_the_session_ends(hub, capture, workers):
    result = capture(*workers)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["push     me/demo-captures: http*/commit/*", "push     me/demo-shell-traces: *", "push     collection: *"]
    )
    assert any(path.endswith(".parquet") for path in hub.files("me/demo-captures"))


def test_failed_tests_are_published_too(hub, capture):
    result = capture(tasks=[{"id": "fails", "input": "python3 call hello; exit 3"}])
    assert result.ret == 1
    assert "1 agent_error" in hub.files("me/demo-captures")["README.md"].decode()


def test_a_push_that_fails_says_how_to_repeat_it_and_is_no_success(hub, capture, project):
    hub.fail("POST .*/commit/", 403)
    result = capture()
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "ERROR    not pushed: me/demo-captures refuses the commit*",
            "         push it with: *agentcap export .agentcap/shell-local-* --push me/demo --no-scan",
        ]
    )
    [run] = project.runs()
    assert (run / "captures.parquet").exists()


def test_a_secret_that_works_keeps_a_session_from_being_published(hub, capture, project, kingfisher):
    leaky = [{"id": "leaky", "input": f"python3 call my key is {LIVE}"}]
    scan = (f"--scan-config={kingfisher.config}",)
    result = capture(tasks=leaky, scan=scan)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "ERROR    not pushed: shell-local-* holds a secret that works: *custom.gx: gx_k… (23 characters), works*",
            "         push it with: *agentcap export .agentcap/shell-local-* --push me/demo --scan-config *",
        ]
    )
    assert LIVE not in "".join(line for line in result.outlines if line.startswith(("ERROR", "push")))
    assert not hub.repos
    result = capture("--redact", tasks=leaky, scan=scan)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["push     *replaced before publishing*", "push     me/demo-captures: http*"])


def test_an_interrupted_session_is_not_published(hub, capture, project):
    project.write("conftest.py", INTERRUPTED)
    result = capture()
    result.stdout.fnmatch_lines(["ERROR    not pushed: the session was interrupted", "         push it with: *"])
    assert not hub.repos


def test_a_lost_worker_keeps_a_session_from_being_published(hub, capture, project):
    project.write("conftest.py", LOST)
    result = capture("-n1", "--max-worker-restart=0")
    result.stdout.fnmatch_lines(["ERROR    not pushed: a worker was lost"])
    assert not hub.repos


def test_what_cannot_be_pushed_is_refused_before_anything_runs(hub, project, capture):
    result = project.pytest("--agent", "loop", "--sandbox", "host", "--push", "me/demo", "prompts.jsonl")
    assert result.ret == 4
    project.write_jsonl({"id": "a", "input": "hello"})
    result = project.capture("--push", "me/demo")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--push: what the scripted model says is not published*"])
    result = capture(place="somebody/demo")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--push somebody/demo: the token is of me, who is no member of somebody*"])
    result = capture(place="demo")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*'demo' is no place to push to: give OWNER/BASE*"])
    assert project.runs() == []
    assert json.dumps(list(hub.repos)) == "[]"


def test_a_missing_scanner_is_told_before_anything_runs(hub, project, capture, monkeypatch):
    # A scanner beside Python would be found too.
    project.write("away/sitecustomize.py", "import sys; sys.executable = '/nowhere/python'")
    for name, value in {"PYTHONPATH": "away", "PATH": "away", "HOME": "away"}.items():
        monkeypatch.setenv(name, str(project.path / value))
    result = capture(scan=())
    assert result.ret == 4
    result.stderr.fnmatch_lines(
        ["*no secret scanner is installed: pip install 'pytest-agentcap?scan?', or pass --no-scan*"]
    )
    assert project.runs() == []


def test_redaction_without_a_scan_is_refused(project, capture):
    result = capture("--redact")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--redact needs the scan: leave out --no-scan*"])
