from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_hub import WRITER, LocalHub

from pytest_agentcap.runs.layout import RunDirectory

ANSWER = {
    "id": "c1",
    "object": "chat.completion",
    "model": "served-m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}],
    "usage": {"prompt_tokens": 18, "completion_tokens": 12, "total_tokens": 30},
}


@pytest.fixture
def hub(project, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """A Hub that this process, and all that it starts, take for the real one."""
    with LocalHub(tmp_path_factory.mktemp("hub") / "state").serving() as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        monkeypatch.setenv("HF_TOKEN", WRITER)
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
        monkeypatch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hf-home")))
        yield served


@pytest.fixture
def agentcap(project):
    """Run `agentcap` in the project, as a process; keywords are environment variables."""

    def run(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from pytest_agentcap.cli import main; raise SystemExit(main())", *args],
            cwd=project.path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    return run


@pytest.fixture
def record(project, http_upstream):
    """Run tasks of the shell agent against a model server of our own; return the run."""

    def run(*tasks: dict, **options: str) -> RunDirectory:
        before = set(project.runs())
        project.write_shell_agent()
        project.write_jsonl(*tasks)
        told = [word for name, value in options.items() for word in (f"--{name}", value)]
        with http_upstream(lambda path: (200, json.dumps(ANSWER).encode())) as upstream:
            project.pytest(
                "--agent", "shell", "--sandbox", "host", "--model", "org/m", "--upstream", upstream.url, *told
            )
        [new] = set(project.runs()) - before
        return RunDirectory(Path(new))

    return run
