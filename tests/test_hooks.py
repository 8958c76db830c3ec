from __future__ import annotations

import subprocess
import sys


def test_without_a_terminal_reporter_and_quietly_it_works_too(project):
    project.write_tasks("say hello")
    command = [sys.executable, "-m", "pytest", "-p", "agentcap", "-p", "no:terminal"]
    done = subprocess.run([*command, "--agent", "loop", "--sandbox", "host"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert len(project.results()) == 1


def test_the_header_says_what_runs_where_and_whose_key_is_used(project, monkeypatch, http_upstream):
    monkeypatch.setenv("AGENTCAP_API_KEY", "sk-header-1234567")
    project.write("test_own.py", "def test_own(): pass\n")
    with http_upstream(lambda path: (404, b"{}")) as upstream:
        result = project.capture("--model", "org/M", "--upstream", upstream.url)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [f"agentcap: loop 1 -> org/M at {upstream.url}", "agentcap: the upstream's key comes from AGENTCAP_API_KEY"]
    )
    assert "sk-header" not in result.stdout.str()
