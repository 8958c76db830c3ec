from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from forked import run_forked
from huggingface_hub import HfApi
from local_hub import WRITER, LocalHub
from secret_rule import DEAD, LIVE, write_config

from pytest_agentcap.cli import main
from pytest_agentcap.publish.remote import Hub
from pytest_agentcap.publish.scanners import Kingfisher as Scanner
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
        return run_forked(main, args, project.path, {**os.environ, **environment})

    return run


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where runs are kept that were recorded once; tests get copies."""
    return tmp_path_factory.mktemp("recorded")


@pytest.fixture
def record(project, http_upstream, recorded: Path):
    """Run tasks of the shell agent against a model server of our own; return the run."""
    history: list[Any] = []

    def capture(told: list[str]) -> Path:
        before = set(project.runs())
        with http_upstream(lambda path: (200, json.dumps(ANSWER).encode())) as upstream:
            project.pytest(
                "--agent", "shell", "--sandbox", "host", "--model", "org/m", "--upstream", upstream.url, *told
            )
        [new] = set(project.runs()) - before
        return Path(new)

    def run(*tasks: dict, **options: str) -> RunDirectory:
        # A run's name has the second in it and the runs beside it: what came before it in this test is part of the key.
        history.append([tasks, options])
        kept = recorded / hashlib.sha256(json.dumps(history).encode()).hexdigest()
        project.write_shell_agent()
        project.write_jsonl(*tasks)
        if not kept.exists():
            new = capture([word for name, value in options.items() for word in (f"--{name}", value)])
            shutil.copytree(new, kept / new.name)
            return RunDirectory(new)
        [old] = kept.iterdir()
        return RunDirectory(Path(shutil.copytree(old, project.path / ".agentcap" / old.name)))

    return run


@dataclass(frozen=True, slots=True)
class Kingfisher:
    """Hold the scanner, its configuration, and the server that it asks."""

    scanner: Scanner
    config: Path
    server: Any


@pytest.fixture
def kingfisher(http_upstream, tmp_path: Path, need) -> Iterator[Kingfisher]:
    """The real scanner with a rule of our own; a server on this machine says which keys work."""
    program = shutil.which("kingfisher", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if program is None:
        need("kingfisher")
    with http_upstream(lambda path: (200 if path.endswith(LIVE) else 401, b'{"known": true}')) as server:
        yield Kingfisher(Scanner(str(program)), write_config(tmp_path, server.url), server)


@pytest.fixture
def leaky_run(tmp_path, new_session) -> RunDirectory:
    """A run whose requests repeat what was said before; the key stands in a tool call's arguments."""
    run = RunDirectory(tmp_path / "pi-local-20260101-000000")
    session = new_session()
    says = session.says(None, ("c1", {"command": f'curl -H "x-key: {LIVE}"'}))
    asked = [session.user("go")]
    session.call(asked, says)
    asked += [says, session.result("c1", f"old key: {DEAD}")]
    session.call(asked, session.says("more?"))
    session.call([*asked, session.says("more?"), session.user("no")], session.says("done"))
    session.save(run)
    return run


@pytest.fixture
def client(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The client of the Hub in this process, which read the environment before the Hub was there."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    return Hub(HfApi(endpoint=hub.url, token=WRITER), pause=lambda seconds: time.sleep(min(seconds, 0.05)))
