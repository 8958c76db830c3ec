"""`agentcap proxy` as a process: how it ends, what it leaves, and how much memory it takes."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
import threading

import psutil
import pytest

from pytest_agentcap.runs.captures import Capture

CLI = "import sys; from pytest_agentcap.cli import main; sys.exit(main())"
EVENT = b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n'
LONG = b"data: " + b"x" * 65_528 + b"\n\n"
MEGABYTE = 1 << 20


class Running:
    """An `agentcap proxy` in a workspace of its own, and an agent's connections to it."""

    def __init__(self, process, folder, port, token):
        self.process, self.folder, self._port, self._token = process, folder, port, token

    def open(self, body=b"{}"):
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        connection.request("POST", f"/{self._token}/v1/chat/completions", body)
        return connection

    @property
    def captures(self):
        [folder] = self.folder.glob(".agentcap/*/captures")
        return folder

    def found(self):
        return {
            capture.request.text: capture
            for path in self.captures.glob("*.request.json")
            for capture in [Capture(path.name[:32], self.captures)]
        }

    def agentcap(self, *args):
        command = [sys.executable, "-c", CLI, *args]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def running(upstream, tmp_path, monkeypatch):
    """Start `agentcap proxy`."""
    monkeypatch.delenv("AGENTCAP_WORKSPACE", raising=False)
    process = subprocess.Popen(
        [sys.executable, "-c", CLI, "proxy", "--upstream", upstream.url],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        port, token = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/(\w+)/v1\n", process.stdout.readline()).groups()
        yield Running(process, tmp_path, int(port), token)
    finally:
        process.kill()
        process.communicate()


def begin(running, upstream, until):
    """Make a call that ends, one whose stream goes on, one that is spooled, and one without an answer."""

    def answer(visit):
        if visit.body == b'"whole"':
            visit.respond(200, [("content-type", "application/json")], b"[1]")
            return
        if visit.body != b'"waiting"':
            visit.start_stream()
            for piece in [EVENT] if visit.body == b'"stream"' else [LONG] * 10:
                visit.chunk(piece)
        visit.hang()

    upstream.answer = answer
    whole = running.open(body=b'"whole"')
    assert whole.getresponse().read() == b"[1]"
    whole.close()
    connections = [running.open(body=body) for body in (b'"stream"', b'"spooled"', b'"waiting"')]
    assert connections[0].getresponse().read1(100) == EVENT
    assert connections[1].getresponse().read(10 * len(LONG)) == LONG * 10
    until(lambda: len(upstream.visits) == 4)
    return connections


def test_after_a_normal_exit_every_accepted_call_has_both_files(running, upstream, until):
    connections = begin(running, upstream, until)
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(60) == 0
    for connection in connections:
        connection.close()
    found = running.found()

    assert {body: capture.response.head["error"] for body, capture in found.items()} == {
        b'"whole"': None,
        b'"stream"': "shutdown",
        b'"spooled"': "shutdown",
        b'"waiting"': "shutdown",
    }
    assert found[b'"whole"'].response.text == b"[1]"
    assert json.loads(found[b'"stream"'].response.text).encode() == EVENT
    assert json.loads(found[b'"spooled"'].response.text).encode() == LONG * 10
    assert len(list(running.captures.iterdir())) == 8
    assert all(visit.gone.wait(60) for visit in upstream.visits[1:])


def test_a_call_in_flight_at_a_normal_exit_may_still_end(running, upstream, until):
    go_on = threading.Event()
    upstream.answer = lambda visit: (go_on.wait(60), visit.respond(body=b"[1]"))
    connection = running.open()
    until(lambda: upstream.visits)
    running.process.send_signal(signal.SIGTERM)
    go_on.set()
    assert connection.getresponse().read() == b"[1]"
    connection.close()
    assert running.process.wait(60) == 0
    [capture] = running.found().values()
    assert (capture.response.text, capture.response.head["complete"]) == (b"[1]", True)


def test_after_kill_9_every_file_is_whole_and_a_call_without_an_answer_is_told(running, upstream, until):
    connections = begin(running, upstream, until)
    running.process.kill()
    running.process.wait()
    for connection in connections:
        connection.close()
    run = running.captures.parent
    for path in running.captures.glob("*.json"):
        json.loads(path.read_bytes())

    assert "4 rows" in running.agentcap("export", run.name)
    found = running.found()
    assert found.keys() == {b'"whole"', b'"stream"', b'"spooled"', b'"waiting"'}
    assert found[b'"whole"'].response.text == b"[1]"
    assert found[b'"stream"'].response is found[b'"waiting"'].response is None
    # Of what was spooled all is there that was in the journal: whole frames of 256 KB.
    spooled = found[b'"spooled"'].response
    assert (spooled.head["complete"], spooled.head["error"]) == (False, "shutdown")
    text = json.loads(spooled.text).encode()
    assert len(text) >= 8 * len(LONG)
    assert (LONG * 10).startswith(text)
    assert list(running.captures.glob("*.journal")) == []
    assert running.agentcap("show", found[b'"waiting"'].rid).endswith("(no response)\n")

    import pyarrow.parquet as pq

    rows = pq.read_table(run / "captures.parquet", columns=["request_id", "response", "complete"]).to_pylist()
    untold = {row["request_id"]: row["response"] for row in rows if row["complete"] is None}
    assert len(rows) == 4
    # `{}` is what readers of the parquet know; that nothing is known of its end tells it from an empty answer.
    assert untold == {found[b'"stream"'].rid: "{}", found[b'"waiting"'].rid: "{}"}


def test_memory_does_not_grow_with_the_length_of_a_stream(running, upstream):
    sizes, go_on = [8, 56], [threading.Event(), threading.Event()]

    def answer(visit):
        visit.start_stream()
        for megabytes, event in zip(sizes, go_on, strict=True):
            for _ in range(megabytes * 16):
                visit.chunk(LONG)
            assert event.wait(60)
        visit.end()

    upstream.answer = answer
    connection = running.open()
    response = connection.getresponse()
    resident = []
    for megabytes, event in zip(sizes, go_on, strict=True):
        for _ in range(megabytes * 16):
            assert len(response.read(len(LONG))) == len(LONG)
        resident.append(psutil.Process(running.process.pid).memory_info().rss)
        event.set()
    assert response.read() == b""
    connection.close()
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(120) == 0
    [capture] = running.found().values()

    assert resident[1] - resident[0] < 8 * MEGABYTE
    assert capture.response.head["response_bytes"] == len(json.loads(capture.response.text)) == 64 * MEGABYTE
    assert (running.captures / f"{capture.rid}.response.json").stat().st_size > 64 * MEGABYTE
