"""A Hub that answers nothing but 500 when a session ends, and is itself again later."""

from __future__ import annotations

import json
import os

from forked import run_forked
from local_hub import WRITER, LocalHub

from pytest_agentcap.cli import main

ANSWER = json.dumps({"choices": [{"message": {"role": "assistant", "content": "hello"}}]}).encode()


def test_what_could_not_be_pushed_is_kept_and_pushed_by_the_command_that_is_told(
    project, http_upstream, monkeypatch, tmp_path_factory
):
    project.write_shell_agent()
    project.write_jsonl(*({"id": f"t{n}", "input": f"python3 call {n}"} for n in range(2)))
    with LocalHub(tmp_path_factory.mktemp("hub") / "state").serving() as hub:
        for name, value in {"HF_ENDPOINT": hub.url, "HF_TOKEN": WRITER, "HF_HUB_DISABLE_XET": "1"}.items():
            monkeypatch.setenv(name, value)
        hub.fail(r"POST .*/commit/", 500, times=7, retry_after="0")
        told = ("--agent", "shell", "--sandbox", "host", "--model", "m", "--push", "me/demo", "--no-scan")
        with http_upstream(lambda path: (200, ANSWER)) as upstream:
            done = project.pytest(*told, "--upstream", upstream.url)
        assert done.ret == 1
        done.assert_outcomes(passed=2)
        done.stdout.fnmatch_lines(
            ["ERROR    not pushed: *", "         push it with: *agentcap export *--push me/demo*"]
        )
        assert {result["verdict"] for result in project.results()} == {"captured"}
        [run] = project.runs()
        assert len(list(run.glob("captures/*.response.json"))) == 2
        agentcap = run_forked(main, ["export", str(run), "--push", "me/demo", "--no-scan"], project.path, os.environ)
        assert agentcap.returncode == 0, agentcap.stderr
        assert [path for path in hub.files("me/demo-captures") if path.endswith(".parquet")]
