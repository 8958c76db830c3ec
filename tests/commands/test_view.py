from __future__ import annotations

import signal
import stat
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import pytest

from pytest_agentcap.cli import main
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.view.serve import PageServer


@pytest.fixture
def run(tmp_path, monkeypatch, new_session):
    monkeypatch.delenv("AGENTCAP_WORKSPACE", raising=False)
    monkeypatch.chdir(tmp_path)
    run = RunDirectory(tmp_path / ".agentcap" / "pi-local-1")
    session = new_session()
    session.call([session.user("buy milk")], session.says("bought"))
    session.save(run)
    return run


def test_the_page_is_written_for_its_owner_alone(run, tmp_path, capsys):
    assert main(["view", run.id]) == 0
    path = tmp_path / "view.html"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes().startswith(b"<!doctype html>")
    assert capsys.readouterr().out.startswith("view.html: 1 sessions, 1 calls, ")


def test_what_cannot_be_read_is_told_and_the_rest_written(run, capsys):
    (run.captures / f"{'e' * 32}.request.json").write_text("{")
    assert main(["view", run.id, "-o", "page.html"]) == 1
    assert "not a capture file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nothing"], "nothing is no run"),
        (["pi-local-1", "--serve", "-o", "x"], "not both"),
        (["pi-local-1", "--port", "1"], "--port goes with --serve"),
    ],
)
def test_what_cannot_be_shown_is_one_line(run, capsys, arguments, told):
    assert main(["view", *arguments]) == 2
    assert told in capsys.readouterr().err


def test_the_address_is_told_at_once_and_an_interrupt_ends_the_service(run):
    program = "import sys; from pytest_agentcap.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "view", run.id, "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as serving:
        assert serving.stdout is not None
        serving.stdout.readline()
        with urllib.request.urlopen(serving.stdout.readline().strip()) as answer:
            assert b"<title>pi-local-1</title>" in answer.read()
        serving.send_signal(signal.SIGINT)
    assert serving.returncode == 0


def test_the_page_is_served_to_whoever_has_its_address():
    server = PageServer(b"<p>page")
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        with urllib.request.urlopen(server.url) as answer:
            assert answer.read() == b"<p>page"
            assert answer.headers["Cache-Control"] == "no-store"
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(server.url.rpartition("/")[0][:-1])
    finally:
        server.close()
        thread.join()
    assert server.url.startswith("http://127.0.0.1:")
