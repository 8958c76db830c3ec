"""Telemetry of known loads in real containers: what a tool call did is what its figures say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pytest_agentcap.telemetry.exits import ExitDaemon

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("real")]

MB = 1 << 20
LOOP_1_S = "python3 -c 'import time\ne = time.process_time() + 1\nwhile time.process_time() < e: pass'"
LOADS = {
    "large": f"python3 -c 'x = bytearray({200 * MB})'",
    "nothing": "true",
    "foreground": LOOP_1_S,
    "background": f"({LOOP_1_S} >/dev/null 2>&1 &)",
    "written": "dd if=/dev/zero of=written bs=1M count=20",
    "synced": "dd if=/dev/zero of=synced bs=1M count=20 conv=fsync",
    "cached": "cat synced >/dev/null",
    "dropped": "dd if=synced iflag=nocache count=0",
    "uncached": "cat synced >/dev/null",
    "many": "i=0; while [ $i -lt 500 ]; do /bin/true; i=$((i+1)); done; exit 3",
    "idle": "sleep 1.5",
}


@pytest.fixture
def results(tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    def run(*options: str) -> list[dict[str, Any]]:
        words = ("-p", "agentcap", "-p", "no:cacheprovider", "--agent", "loop", "prompts.jsonl", *options)
        command = [sys.executable, "-m", "pytest", f"--rootdir={tmp_path}", *words]
        environment = {**os.environ, "AGENTCAP_WORKSPACE": str(tmp_path)}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=540)
        assert done.returncode == 0, done.stdout + done.stderr
        return [json.loads(path.read_bytes()) for path in tmp_path.glob(".agentcap/*/results/*.json")]

    return run


@pytest.fixture
def listens(tmp_path_factory: pytest.TempPathFactory) -> None:
    daemon = ExitDaemon.start(tmp_path_factory.mktemp("d"))
    if daemon is None:
        pytest.skip("exit records are for root in the initial namespaces of Linux")
    daemon.close()


def write_loads(folder: Path) -> None:
    task = {"id": "loads", "input": "Make loads", "reference": "\n\n".join(LOADS.values())}
    (folder / "prompts.jsonl").write_text(json.dumps(task) + "\n")


def spans_of(result: dict[str, Any]) -> list[dict[str, Any]]:
    return [span for call in result["telemetry"]["calls"].values() for span in call["tools"]]


@pytest.mark.parametrize("sandbox", ["podman", "host"])
def test_exit_records_tell_what_each_tool_call_used(
    sandbox: str,
    tmp_path: Path,
    results: Callable[..., list[dict[str, Any]]],
    need: Callable[[str], None],
    listens: None,
) -> None:
    need("podman")
    write_loads(tmp_path)
    (result,) = results("--sandbox", sandbox)
    spans = dict(zip(LOADS, spans_of(result), strict=True))
    used = {name: span["resources"] for name, span in spans.items()}
    assert {(each["source"], each["quality"]) for each in used.values()} == {("taskstats", "exact")}
    assert {span["timing"] for span in spans.values()} == {"process"}

    assert 200 * MB < used["large"]["peak_rss_bytes"] < 260 * MB
    assert used["nothing"]["peak_rss_bytes"] < 20 * MB
    for name in ("foreground", "background"):
        assert 0.9 < used[name]["user_s"] + used[name]["system_s"] < 1.6
    assert (spans["foreground"]["background"], used["foreground"]["survivors"]) == (False, 0)
    assert (spans["background"]["background"], used["background"]["survivors"]) == (True, 1)
    for name in ("written", "synced"):
        assert 20 * MB <= used[name]["syscall_write_bytes"] < 21 * MB
        assert 20 * MB <= used[name]["storage_write_bytes"] < 22 * MB
    for name in ("cached", "uncached"):
        assert 20 * MB <= used[name]["syscall_read_bytes"] < 22 * MB
    assert used["cached"]["storage_read_bytes"] < 2 * MB
    assert 20 * MB <= used["uncached"]["storage_read_bytes"] < 23 * MB
    assert 500 <= used["many"]["processes"] <= 502
    assert (spans["many"]["exit_code"], spans["many"]["exit_code_source"]) == (3, "process")
    assert used["idle"]["user_s"] + used["idle"]["system_s"] < 0.2
    assert used["idle"]["wall_s"] > 1.4

    told = result["telemetry"]
    assert told["source"] == "taskstats"
    if sandbox == "podman":
        assert 0.8 < told["coverage"] < 1.1
    assert told["turns"][0]["processes"] > 510


def test_without_exit_records_the_control_group_and_samples_tell(
    tmp_path: Path,
    results: Callable[..., list[dict[str, Any]]],
    need: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    need("podman")
    write_loads(tmp_path)
    (tmp_path / "no_daemon.py").write_text(
        "from pytest_agentcap.telemetry.exits import ExitDaemon\nExitDaemon.start = lambda folder: None\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (result,) = results("-p", "no_daemon")
    used = dict(zip(LOADS, (span["resources"] for span in spans_of(result)), strict=True))
    assert {(each["source"], each["quality"]) for each in used.values()} == {("cgroup", "window")}
    assert 0.9 < used["foreground"]["user_s"] + used["foreground"]["system_s"] < 2
    assert used["nothing"]["peak_rss_bytes"] is None or used["nothing"]["peak_rss_bytes"] < 100 * MB
    assert result["telemetry"]["coverage"] is None


class TwoToolCalls(BaseHTTPRequestHandler):
    """Ask for two tool calls at once, then end."""

    def do_GET(self) -> None:
        self._send("application/json", b'{"data": []}')

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        asked = [call for message in body["messages"] for call in message.get("tool_calls", ())]
        commands = [] if asked else ["sleep 0.7; true first", LOOP_1_S]
        calls = [
            {
                "index": n,
                "id": f"c{n}",
                "type": "function",
                "function": {"name": "bash", "arguments": json.dumps({"command": c})},
            }
            for n, c in enumerate(commands)
        ]
        delta = {"role": "assistant", "content": None if calls else "done", **({"tool_calls": calls} if calls else {})}
        chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": "tool_calls" if calls else "stop"}]}
        self._send("text/event-stream", f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode())

    def _send(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def two_calls() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), TwoToolCalls)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def test_two_tool_calls_of_one_answer_have_each_its_own_figures(
    tmp_path: Path,
    results: Callable[..., list[dict[str, Any]]],
    need: Callable[[str], None],
    two_calls: str,
    listens: None,
) -> None:
    need("podman")
    (tmp_path / "prompts.jsonl").write_text('{"id": "two", "input": "Do both"}\n')
    (result,) = results("--model", "m", "--upstream", two_calls)
    first, second = spans_of(result)
    assert first["resources"]["user_s"] + first["resources"]["system_s"] < 0.3
    assert 0.9 < second["resources"]["user_s"] + second["resources"]["system_s"] < 1.6
    assert {span["resources"]["quality"] for span in (first, second)} == {"exact"}
    assert first["window_start_ns"] == second["window_start_ns"]
    assert first["ended_at_ns"] <= second["started_at_ns"]
