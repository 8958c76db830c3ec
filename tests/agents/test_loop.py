"""The loop agent as its users run it: one copied file, a process, a model behind a real socket."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from pytest_agentcap.agents import loop
from pytest_agentcap.corpus.task import Task
from pytest_agentcap.upstream.scripted import ScriptedModel

Ended = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Canned:
    """One answer of a canned server."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CannedServer:
    """A server that answers each request with the next of its answers, the last one for ever."""

    url: str
    requests: list[dict[str, Any]]
    keys: list[str | None]


@contextmanager
def canned(*answers: Canned) -> Iterator[CannedServer]:
    requests: list[dict[str, Any]] = []
    keys: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            requests.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            keys.append(self.headers["authorization"])
            answer = answers[min(len(requests), len(answers)) - 1]
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield CannedServer(f"http://127.0.0.1:{server.server_port}", requests, keys)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def stream(*deltas: dict[str, Any], finish_reason: str | None = "stop") -> Canned:
    chunks: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas
    ]
    if finish_reason:
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish_reason}]})
    body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
    return Canned(200, body.encode(), {"content-type": "text/event-stream"})


def bash_call(command: str, **arguments: Any) -> Canned:
    function = {"name": "bash", "arguments": json.dumps({"command": command, **arguments})}
    return stream({"tool_calls": [{"index": 0, "id": "call_1", "function": function}]}, finish_reason="tool_calls")


@dataclass(frozen=True)
class Place:
    """A home, a workspace and a copy of the agent, with nothing of this project beside it."""

    root: Path

    @property
    def workspace(self) -> Path:
        return self.root / "workspace"

    def messages(self, session: str = "s1") -> list[dict[str, Any]]:
        path = self.root / "home" / ".loop" / "sessions" / f"{session}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]

    def start(self, url: str, *options: str) -> subprocess.Popen[bytes]:
        env = {"PATH": os.environ["PATH"], "HOME": str(self.root / "home"), "OPENAI_API_KEY": "sk-test"}
        flags = ["--base-url", f"{url}/v1", "--model", "m", "--session", "s1", *options]
        return subprocess.Popen(
            [sys.executable, "-P", str(self.root / "loop.py"), *flags],
            env=env,
            cwd=self.workspace,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, url: str, prompt: str | bytes, options: Sequence[str] = ()) -> Ended:
        process = self.start(url, *options)
        raw = prompt if isinstance(prompt, bytes) else prompt.encode()
        stdout, stderr = process.communicate(raw, timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout.decode(), stderr.decode())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    for name in ("home", "workspace"):
        (tmp_path / name).mkdir()
    shutil.copy(loop.__file__, tmp_path / "loop.py")
    return Place(tmp_path)


@pytest.fixture
def scripted() -> Iterator[ScriptedModel]:
    with ScriptedModel.start() as model:
        yield model


def task(*prompts: str, references: tuple[str, ...]) -> Task:
    return Task(id="t", prompts=prompts, references=references, corpus="c", index=1, source="tasks.jsonl:1")


def poll(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited 60 s in vain"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_a_task_is_worked_on_until_the_model_has_no_more_tool_calls(place: Place, scripted: ScriptedModel) -> None:
    scripted.learn(task("Write é into f", references=("printf é > f.txt\n\ncat f.txt; echo no >&2; exit 3",)))

    ended = place.run(scripted.url, "Write é into f")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "Done, steps run: 2. Write é into f\n"
    assert (place.workspace / "f.txt").read_text("utf-8") == "é"
    messages = place.messages()
    assert [message["role"] for message in messages] == [
        "system",
        "user",
        *("assistant", "tool") * 2,
        "assistant",
    ]
    assert messages[5]["content"] == "exit code: 3\néno\n"
    assert messages[5]["tool_call_id"] == messages[4]["tool_calls"][0]["id"]


def test_a_resumed_turn_carries_the_turns_before(place: Place, scripted: ScriptedModel) -> None:
    scripted.learn(task("First", "Second", references=("echo 1 >> f.txt", "echo 2 >> f.txt")))
    place.run(scripted.url, "First").check_returncode()
    first = place.messages()

    ended = place.run(scripted.url, "Second", ["--resume"])

    assert ended.returncode == 0
    assert (place.workspace / "f.txt").read_text() == "1\n2\n"
    assert place.messages()[: len(first)] == first
    assert sum(message["role"] == "user" for message in place.messages()) == 2


def test_a_session_that_is_not_resumed_starts_anew(place: Place) -> None:
    with canned(stream({"content": "ok"})) as server:
        place.run(server.url, "First").check_returncode()
        place.run(server.url, "Second").check_returncode()

    assert [message["content"] for message in server.requests[1]["messages"]][1:] == ["Second"]


def test_sampling_is_asked_for_where_the_command_line_says_so(place: Place) -> None:
    with canned(stream({"content": "ok"})) as server:
        place.run(server.url, "Hi", ["--temperature", "0", "--max-tokens", "64"]).check_returncode()
        place.run(server.url, "Hi").check_returncode()

    asked = [{name: body.get(name) for name in ("temperature", "max_tokens")} for body in server.requests]
    assert asked == [{"temperature": 0.0, "max_tokens": 64}, {"temperature": None, "max_tokens": None}]


@pytest.mark.parametrize(("options", "recalled"), [([], None), (["--include-reasoning-content"], "hm, yes")])
def test_reasoning_is_sent_back_where_the_command_line_says_so(
    place: Place, options: list[str], recalled: str | None
) -> None:
    call = {"index": 0, "id": "c", "function": {"name": "bash", "arguments": '{"command": "true"}'}}
    thinks = stream({"reasoning_content": "hm, "}, {"reasoning_content": "yes", "tool_calls": [call]})
    with canned(thinks, stream({"content": "ok"})) as server:
        place.run(server.url, "Hi", options).check_returncode()

    assert server.requests[1]["messages"][2].get("reasoning_content") == recalled


def test_requests_are_streamed_with_usage_and_carry_the_key(place: Place) -> None:
    with canned(stream({"content": "o"}, {"content": "k"})) as server:
        ended = place.run(server.url, "Hi")

    assert ended.stdout == "ok\n"
    (request,) = server.requests
    assert request["stream"] is True
    assert request["stream_options"] == {"include_usage": True}
    assert [tool["function"]["name"] for tool in request["tools"]] == ["bash"]
    assert [message["role"] for message in request["messages"]] == ["system", "user"]
    assert server.keys == ["Bearer sk-test"]


def test_parallel_tool_calls_that_come_in_pieces_are_all_run(place: Place) -> None:
    def piece(index: int, arguments: str, **head: Any) -> dict[str, Any]:
        return {"tool_calls": [{"index": index, **head, "function": {"name": None, "arguments": arguments}}]}

    names = [{"tool_calls": [{"index": i, "id": f"c{i}", "function": {"name": "bash"}}]} for i in (0, 1)]
    pieces = [piece(0, '{"command": "ec'), piece(1, '{"command": "echo b"}'), piece(0, 'ho a"}')]
    with canned(stream(*names, *pieces, finish_reason="tool_calls"), stream({"content": "ok"})) as server:
        place.run(server.url, "Hi").check_returncode()

    results = [message for message in server.requests[1]["messages"] if message["role"] == "tool"]
    assert [(result["tool_call_id"], result["content"]) for result in results] == [
        ("c0", "exit code: 0\na\n"),
        ("c1", "exit code: 0\nb\n"),
    ]


@pytest.mark.parametrize(
    ("function", "result"),
    [
        ({"name": "bash", "arguments": '{"command": "ls'}, "error: Unterminated string"),
        ({"name": "bash", "arguments": '{"cmd": "ls"}'}, "error: bash needs an object"),
        ({"name": "bash", "arguments": '{"command": "ls", "timeout": "soon"}'}, "error: could not convert"),
        ({"name": "bash", "arguments": '{"command": "a\\u0000b"}'}, "error: embedded null byte"),
        ({"name": "edit", "arguments": "{}"}, "error: there is no tool 'edit', only bash"),
    ],
)
def test_a_wrong_tool_call_is_answered_with_its_error(place: Place, function: dict[str, str], result: str) -> None:
    call = stream({"tool_calls": [{"index": 0, "id": "c", "function": function}]}, finish_reason="tool_calls")
    with canned(call, stream({"content": "ok"})) as server:
        assert place.run(server.url, "Hi").returncode == 0

    assert server.requests[1]["messages"][-1]["content"].startswith(result)


def test_a_command_is_killed_with_its_children_at_its_timeout(place: Place) -> None:
    command = "sleep 1000 & echo $! > child; echo begun; wait"
    with canned(bash_call(command, timeout=1), stream({"content": "ok"})) as server:
        assert place.run(server.url, "Hi").returncode == 0

    assert server.requests[1]["messages"][-1]["content"] == "killed after 1 s\nbegun\n"
    child = int((place.workspace / "child").read_text())
    poll(lambda: gone(child))


def test_a_background_process_does_not_hold_up_its_command(place: Place) -> None:
    with canned(bash_call("sleep 1000 & echo $!"), stream({"content": "ok"})) as server:
        assert place.run(server.url, "Hi").returncode == 0

    status, child = server.requests[1]["messages"][-1]["content"].split("\n")[:2]
    psutil.Process(int(child)).kill()
    assert status == "exit code: 0"


def test_a_long_output_loses_its_middle(place: Place) -> None:
    with canned(bash_call("seq 1 100000"), stream({"content": "ok"})) as server:
        assert place.run(server.url, "Hi").returncode == 0

    content = server.requests[1]["messages"][-1]["content"]
    assert len(content) < 17 * 1024
    assert content.startswith("exit code: 0\n1\n2\n")
    assert content.endswith("\n99999\n100000\n")
    assert f"[... {588895 - 16 * 1024} bytes left out ...]" in content


def test_a_terminated_agent_ends_its_command(place: Place) -> None:
    with canned(bash_call("echo $$ > pid; exec sleep 1000")) as server:
        process = place.start(server.url)
        assert process.stdin is not None
        process.stdin.write(b"Hi")
        process.stdin.close()
        pid = place.workspace / "pid"
        poll(lambda: pid.exists() and pid.read_text().strip() != "")
        process.terminate()

        assert process.wait(60) == 143
    poll(lambda: gone(int(pid.read_text())))


def test_max_steps_ends_the_turn_with_an_error(place: Place) -> None:
    with canned(bash_call("true")) as server:
        ended = place.run(server.url, "Hi", ["--max-steps", "3"])

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "loop: no final answer after 3 steps (--max-steps)\n"
    assert len(server.requests) == 3


def test_three_server_errors_end_the_turn(place: Place) -> None:
    with canned(Canned(500, b'{"error": {"message": "all\\nbroken"}}')) as server:
        ended = place.run(server.url, "Hi")

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "loop: model call failed 3 times: HTTP 500: all broken\n"
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "fault",
    [
        Canned(500, b"oops"),
        Canned(429, b"", {"retry-after": "0"}),
        Canned(200, b"data: {oops\n\n"),
        Canned(200, b"<html>"),
        Canned(200, b'data: {"error": {"message": "overloaded"}}\n\n'),
        stream({"content": "half"}, finish_reason=None),
    ],
    ids=["500", "429", "malformed", "html", "error event", "broken off"],
)
def test_a_passing_fault_is_retried(place: Place, fault: Canned) -> None:
    with canned(fault, stream({"content": "whole"})) as server:
        ended = place.run(server.url, "Hi")

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "whole\n", "")
    assert server.requests[0] == server.requests[1]


def test_a_refusal_is_not_retried(place: Place) -> None:
    with canned(Canned(401, b'{"error": "bad key"}')) as server:
        ended = place.run(server.url, "Hi")

    assert ended.returncode == 1
    assert ended.stderr == "loop: model call refused: HTTP 401: bad key\n"
    assert len(server.requests) == 1


def test_a_server_that_is_not_there_is_named_as_such(place: Place) -> None:
    with canned(Canned(200, b"")) as server:
        url = server.url

    ended = place.run(url, "Hi")

    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "Connection refused" in ended.stderr


@pytest.mark.parametrize(
    ("prompt", "options", "message"),
    [
        (b"", (), "no prompt on standard input"),
        (b" \n", (), "no prompt on standard input"),
        (b"\xff", (), "not UTF-8"),
        (b"Hi", ("--resume",), "--resume: there is no session"),
        (b"Hi", ("--session", "../x"), "--session '../x': use letters"),
        (b"Hi", ("--base-url", "localhost:1"), "--base-url 'localhost:1': use http://"),
    ],
)
def test_a_wrong_start_ends_with_one_line(place: Place, prompt: bytes, options: tuple[str, ...], message: str) -> None:
    ended = place.run("http://127.0.0.1:9", prompt, options)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("loop: ")
    assert message in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_damaged_session_is_not_resumed(place: Place) -> None:
    sessions = place.root / "home" / ".loop" / "sessions"
    sessions.mkdir(parents=True)
    (sessions / "s1.jsonl").write_text('{"role": "us')

    ended = place.run("http://127.0.0.1:9", "Hi", ["--resume"])

    assert ended.returncode == 1
    assert "is damaged" in ended.stderr
