"""A model server that dies in the middle of a session and comes back at its address."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ANSWER = json.dumps({"choices": [{"message": {"role": "assistant", "content": "hello"}}]}).encode()
WAIT = "touch {0}; until [ -e {1} ]; do sleep 0.02; done"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer(b"{}")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self._answer(ANSWER)

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Upstream:
    def __init__(self) -> None:
        self.port = 0
        self.start()

    def start(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def until(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)


def test_what_was_asked_before_meanwhile_and_after_is_captured(project):
    project.write_shell_agent()
    a, b, c, d = (project.path / name for name in "abcd")
    steps = ["python3 call one", WAIT.format(a, b), "python3 call two || true", WAIT.format(c, d), "python3 call three"]
    project.write_jsonl({"id": "t", "input": "; ".join(steps)}, {"id": "u", "input": "python3 call four"})
    upstream = Upstream()

    def restart() -> None:
        until(a)
        upstream.stop()
        b.touch()
        until(c)
        upstream.start()
        d.touch()

    thread = threading.Thread(target=restart)
    thread.start()
    try:
        told = ("--agent", "shell", "--sandbox", "host", "--model", "m", "--upstream")
        project.pytest(*told, f"http://127.0.0.1:{upstream.port}").assert_outcomes(passed=2)
    finally:
        for path in (a, c):
            path.touch()
        thread.join()
        upstream.stop()
    [run] = project.runs()
    halves = [json.loads(path.read_bytes()) for path in run.glob("captures/*.response.json")]
    told = [(half["status_code"], half["error"]) for half in sorted(halves, key=lambda half: half["request_id"])]
    assert sorted(told, key=str) == [(200, None)] * 3 + [(502, "upstream_refused")]
    assert [result["calls"] for result in project.results()] == [3, 1]
