"""What tests share: the parts of a full system that some of them need, and projects that use the plugin."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import textwrap
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from forked import run_forked
from hypothesis import settings

# Where everything must be there, examples are the same at every run: a failure is a change of the code.
if os.environ.get("AGENTCAP_REQUIRE") == "1":
    settings.load_profile("ci")

# A shell starts what is in the background deaf to Ctrl-C, and so would be all that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

from pytest_agentcap.conversation.records import CallRecord
from pytest_agentcap.runs.captures import Half
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.results import SessionResult, save_result

Need = Callable[[str], None]
Answer = Callable[[str], tuple[int, bytes]]


@pytest.fixture(scope="session")
def need() -> Need:
    """Skip a test whose program is not installed; with AGENTCAP_REQUIRE=1 that is a failure."""

    def check(program: str) -> None:
        if shutil.which(program) is None:
            missing = f"{program} is not installed: run ./tools/install-system, for an agent ./tools/install-agents"
            if os.environ.get("AGENTCAP_REQUIRE") == "1":
                pytest.fail(missing, pytrace=False)
            pytest.skip(missing)

    return check


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[Any]) -> Iterator[None]:
    """Have `xdist_group` heeded: pytest 9.2 no longer reads what xdist 3.8 writes it to (pytest-xdist 1386)."""
    result = yield
    for item in items:
        if grouped := vars(item).get("_nodeid"):
            item._id = type(item._id).parse(grouped)
    return result


LOOP = ("--agent", "loop", "--sandbox", "host")
SHELL_AGENT = """
    name = "shell"
    version = "1"
    api = "chat"
    executable = "sh"
    [command]
    first = ["sh"]
    next = ["sh"]
    prompt = "stdin"
    [session]
    id = "chosen"
    [[files]]
    template = "call.py"
    path = "{{workspace}}/call"
"""
CALL = """
    import json, os, sys, urllib.request
    body = {"model": os.environ["AGENTCAP_MODEL"], "messages": [{"role": "user", "content": " ".join(sys.argv[1:])}]}
    url = os.environ["AGENTCAP_PROXY_URL"] + "/chat/completions"
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    print(urllib.request.urlopen(request).read().decode())
"""


class Project:
    """A user's project in a folder of its own, with pytest runs in it; each run is a process, agents are too."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, text: str) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"))
        return path

    def write_tasks(self, *prompts: str, name: str = "tasks.txt") -> Path:
        return self.write(name, "".join(f"{prompt}\n" for prompt in prompts))

    def write_jsonl(self, *records: dict[str, Any], name: str = "prompts.jsonl") -> Path:
        return self.write(name, "".join(json.dumps(record) + "\n" for record in records))

    def write_shell_agent(self) -> None:
        """Add the agent `shell`, which runs its prompt as a shell script; `python3 call WORDS` makes a model call."""
        self.write("agents/shell/agent.toml", SHELL_AGENT)
        self.write("agents/shell/call.py", CALL)

    def pytest(self, *args: str) -> pytest.RunResult:
        began = time.perf_counter()
        # Without the autoloading of whatever else is installed: hypothesis alone takes a second to start.
        words = [f"--basetemp={self.path / 'runpytest-0'}", "-p", "agentcap", "-p", "xdist", *args]
        done = run_forked(pytest.main, words, self.path, os.environ)
        sys.stdout.write(done.stdout)
        sys.stderr.write(done.stderr)
        outlines, errlines = done.stdout.splitlines(), done.stderr.splitlines()
        return pytest.RunResult(done.returncode, outlines, errlines, time.perf_counter() - began)

    def capture(self, *args: str) -> pytest.RunResult:
        return self.pytest(*LOOP, *args)

    def ids(self, *args: str) -> list[str]:
        """Return the node ids that would run with the loop agent."""
        lines = self.pytest("--collect-only", "-q", "--agent", "loop", *args).outlines
        return [line for line in lines if "::" in line]

    def runs(self) -> list[Path]:
        return sorted(self.path.glob(".agentcap/*/"))

    def manifests(self) -> list[dict[str, Any]]:
        return [json.loads((run / "run.json").read_bytes()) for run in self.runs()]

    def results(self) -> list[dict[str, Any]]:
        """Return all results of all runs in the order of their sessions' names."""
        return [json.loads(path.read_bytes()) for run in self.runs() for path in sorted(run.glob("results/*.json"))]


@pytest.fixture
def project(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An empty project and home, in an environment that says nothing of agentcap, of pytest or of keys.

    Unlike pytester it forgets no module that a test has imported: to import pyarrow and the Hub's client takes seconds.
    """
    for name in tuple(os.environ):
        if name.startswith(("AGENTCAP_", "OPENAI_", "ANTHROPIC_", "HF_", "PYTEST_")):
            monkeypatch.delenv(name)
    path = tmp_path_factory.mktemp("project")
    monkeypatch.chdir(path)
    monkeypatch.setenv("HOME", str(path))
    monkeypatch.setenv("PY_COLORS", "0")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    return Project(path)


@pytest.fixture
def fake_podman(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Put a shell script in podman's place; every call's words are a line of the file that is returned."""

    def install(script: str) -> Path:
        programs, calls = tmp_path / "fake-bin", tmp_path / "podman-calls"
        programs.mkdir()
        calls.touch()
        (programs / "podman").write_text(f'#!/bin/sh\necho "$@" >>{calls}\n{textwrap.dedent(script)}')
        (programs / "podman").chmod(0o755)
        monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
        return calls

    return install


@dataclass(slots=True)
class HttpUpstream:
    """A model server of a test's own; `seen` holds path and headers of each request that came."""

    url: str
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)


@pytest.fixture(scope="session")
def http_upstream() -> Callable[[Answer], Any]:
    """Start a real HTTP server; `answer` maps a path to status and JSON."""

    @contextmanager
    def start(answer: Answer) -> Iterator[HttpUpstream]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(*answer(self.path))

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                self._answer(*answer(self.path))

            def _answer(self, status: int, body: bytes) -> None:
                upstream.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        upstream = HttpUpstream(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield upstream
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    return start


TOOLS = [{"type": "function", "function": {"name": "bash", "description": "run", "parameters": {"type": "object"}}}]
SYSTEM = {"role": "system", "content": "you are an agent"}


class Session:
    """The calls of a session, made one after another by chat completions, and the messages they are made of."""

    SYSTEM = SYSTEM

    @staticmethod
    def user(text: str) -> dict[str, Any]:
        return {"role": "user", "content": text}

    @staticmethod
    def says(
        text: str | None = None, *calls: tuple[str, dict[str, Any]], thinking: str | None = None
    ) -> dict[str, Any]:
        """Shape an answer; each call is an id and its arguments."""
        told = [
            {"id": identity, "type": "function", "function": {"name": "bash", "arguments": json.dumps(arguments)}}
            for identity, arguments in calls
        ]
        extra = {**({"tool_calls": told} if told else {}), **({"reasoning_content": thinking} if thinking else {})}
        return {"role": "assistant", "content": text, **extra}

    @staticmethod
    def result(identity: str, text: str) -> dict[str, Any]:
        return {"role": "tool", "tool_call_id": identity, "content": text}

    def __init__(self, name: str = "buy", **facts: Any) -> None:
        self.name, self.facts = name, facts
        self.records: list[CallRecord] = []

    def save(self, run: RunDirectory) -> None:
        """Write the session into a run directory: pair files, its result, and a manifest unless there is one."""
        for place in (run.captures, run.results):
            place.mkdir(parents=True, exist_ok=True)
        for record in self.records:
            head = {key: value for key, value in record.facts.items() if key not in ("run_id", "verdict")}
            for half, text in (("request", record.request), ("response", record.response and record.response.text)):
                if text:
                    whole = json.dumps({**head, "body": json.loads(text)})
                    (run.captures / f"{record.rid}.{half}.json").write_text(whole)
        first = self.records[0].facts
        result = SessionResult(
            session=self.name, task_id="buy", index=1, corpus="shop", source="tasks.txt:1", trial=first["trial"],
            attempt=first["attempt"], agent="pi", agent_version="1.0", model="org/m", sandbox="host", nodeid="n",
            prompt="buy milk", started_at=1.0, ended_at=2.0, verdict=first["verdict"], calls=len(self.records),
        )  # fmt: skip
        save_result(run, result)
        if not run.manifest.exists():
            run.manifest.write_text(json.dumps({"agent": "pi", "model": "org/m", "provider": "local", "tasks": []}))

    def call(
        self,
        messages: list[dict[str, Any]],
        answer: dict[str, Any] | None,
        *,
        tools: Any = TOOLS,
        model: str = "org/m",
        **facts: Any,
    ) -> CallRecord:
        """Add a call and return its record; without an answer the upstream was overloaded."""
        number = len(self.records) + 1
        request = {"model": model, "messages": messages, **({"tools": tools} if tools else {})}
        body: Any = {"error": {"message": "overloaded"}}
        if answer is not None:
            usage = {"prompt_tokens": 10, "completion_tokens": number}
            reason = "tool_calls" if answer.get("tool_calls") else "stop"
            choice = {"message": answer, "finish_reason": reason}
            body = {"id": f"x{number}", "model": "served", "choices": [choice], "usage": usage}
        known = {
            "request_id": f"{number:016x}{zlib.crc32(self.name.encode()):016x}", "api": "chat", "run_id": "run",
            "corpus": "shop", "task_id": "buy", "session": self.name, "trial": 1, "attempt": 1, "turn": 1,
            "call_index": number, "agent": "pi",
            "agent_version": "1.0", "verdict": "passed", "upstream_url": "https://host/v1", "provider": "local",
            "started_at_ns": number * 1_000_000_000, "duration_ms": 500.0, "status_code": 200 if answer else 503,
        }  # fmt: skip
        response = Half({}, "body", json.dumps(body).encode())
        record = CallRecord({**known, **self.facts, **facts}, json.dumps(request).encode(), response)
        self.records.append(record)
        return record


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty workspace, in which the commands work."""
    monkeypatch.delenv("AGENTCAP_WORKSPACE", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def new_session() -> type[Session]:
    """Begin a session: its name, and what else its captures say of themselves."""
    return Session
