from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pytest_agentcap.cli import main
from pytest_agentcap.proxy.apis import Upstream
from pytest_agentcap.proxy.standalone import StandaloneProxy, open_listener
from pytest_agentcap.runs.captures import Capture

CLI = "import sys; from pytest_agentcap.cli import main; sys.exit(main())"
KEY = "sk-standalone-0123456789"


def post(port: int, path: str, body: bytes = b"{}") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", path, body)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status


def captures(folder: Path) -> list[Capture]:
    return [Capture(path.name[:32], folder) for path in sorted(folder.glob("*.request.json"))]


def test_without_a_lease_the_paths_are_the_plain_ones(upstream, tmp_path):
    ended = []
    with StandaloneProxy(Upstream(upstream.url), open_listener("127.0.0.1", 0), tmp_path, None, ended.append) as proxy:
        assert post(proxy.port, "/v1/chat/completions", b'{"model":"m"}') == 200
    [capture] = captures(tmp_path)
    assert capture.request.text == b'{"model":"m"}'
    assert capture.request.head["path"] == "/v1/chat/completions"
    assert capture.response.head["complete"] is True
    assert [call.rid for call in ended] == [capture.rid]
    assert list(tmp_path.glob("*.journal")) == []


def test_with_a_lease_nobody_else_gets_through(upstream, tmp_path):
    listener = open_listener("127.0.0.1", 0)
    with StandaloneProxy(Upstream(upstream.url), listener, tmp_path, "letmein", lambda call: None) as proxy:
        assert post(proxy.port, "/letmein/v1/chat/completions") == 200
        assert post(proxy.port, "/v1/chat/completions") == 403
    assert len(upstream.visits) == 1
    assert len(captures(tmp_path)) == 1


def test_a_long_journal_is_followed_by_another_and_none_is_left(upstream, tmp_path):
    seen = set()
    ended = threading.Event()

    def look(call):
        seen.update(path.name for path in tmp_path.glob("*.journal"))
        if call.index == 12:
            ended.set()

    listener, body = open_listener("127.0.0.1", 0), json.dumps(["x" * 2000]).encode()
    with StandaloneProxy(Upstream(upstream.url), listener, tmp_path, None, look, roll_bytes=5000) as proxy:
        for _ in range(12):
            assert post(proxy.port, "/v1/chat/completions", body) == 200
        assert ended.wait(60)
    assert len(seen) > 2
    found = captures(tmp_path)
    assert [capture.request.text for capture in found] == [body] * 12
    assert sorted(capture.request.head["call_index"] for capture in found) == list(range(1, 13))
    assert all(capture.response.head["complete"] for capture in found)
    assert list(tmp_path.glob("*.journal")) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_either_family_of_addresses_can_be_listened_on(host):
    with open_listener(host, 0) as listener:
        socket.create_connection(listener.getsockname()[:2], 60).close()


def test_a_port_that_is_taken_is_one_line_and_leaves_nothing(upstream, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AGENTCAP_WORKSPACE", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["proxy", "--upstream", upstream.url, "--port", str(port)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "already in use" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("port", ["65536", "-1", "x"])
def test_a_port_that_there_is_none_is_one_line(port, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["proxy", "--upstream", "http://u", "--port", port])
    assert ended.value.code == 2
    assert f"--port: {port!r} is not a port" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_prints_its_address_a_line_per_call_and_a_total(upstream, tmp_path, number):
    process = subprocess.Popen(
        [sys.executable, "-c", CLI, "proxy", "--upstream", upstream.url, "--captures", str(tmp_path / "new")],
        env={**os.environ, "AGENTCAP_API_KEY": KEY},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        address = re.fullmatch(r"http://127\.0\.0\.1:(\d+)(/[0-9a-f]{32})/v1\n", process.stdout.readline())
        assert post(int(address[1]), f"{address[2]}/v1/chat/completions") == 200
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0
    [capture] = captures(tmp_path / "new")
    assert re.search(rf"chat +200 +[0-9.]+ ms  {capture.rid}", out)
    assert "1 calls (1 complete)" in err
    assert ("authorization", f"Bearer {KEY}") in [(n.lower(), v) for n, v in upstream.visits[0].headers]
    assert KEY not in (tmp_path / "new" / f"{capture.rid}.request.json").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--upstream", "nowhere"], "--upstream nowhere"),
        (["--upstream", "http://user:hunter2@h"], "--upstream http://…@h: give a URL without user, password and query"),
        (["--upstream", "http://u", "--no-lease", "--host", "0.0.0.0"], "--no-lease"),
        (["--upstream", "http://u", "--lease", "a/b"], "--lease"),
    ],
)
def test_bad_arguments_are_one_line(arguments, said, capsys):
    assert main(["proxy", *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert said in lines[0]
