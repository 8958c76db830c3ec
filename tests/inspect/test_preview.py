"""The preview server, asked as fzf asks it: by a shell, which may be gone before its answer comes."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path

from pytest_agentcap.inspect.preview import PreviewServer


def ask(server: PreviewServer, row: str, query: str = "''") -> str:
    command = server.command.replace("{n}", row).replace("{q}", query)
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True, timeout=60).stdout


def test_a_row_is_shown_by_its_number_and_the_query():
    with PreviewServer(lambda row, query: f"{row}:{query}") as server:
        assert ask(server, "7", "'two  words'") == "7:two  words"
        assert ask(server, "8") == "8:"
        assert ask(server, "") == ""


def test_what_a_query_holds_is_no_command(tmp_path):
    with PreviewServer(lambda row, query: query) as server:
        query = "$(touch evil) `touch evil`; %s \\n é"
        quoted = "'" + query + "'"
        assert ask(server, "1", quoted) == query
    assert not Path("evil").exists()


def test_a_preview_larger_than_a_pipe_arrives_whole():
    text = "ü" * 1_000_000
    with PreviewServer(lambda row, query: text) as server:
        assert ask(server, "1") == text


def test_who_is_gone_before_the_answer_comes_holds_nobody_up():
    rendering, go_on = threading.Event(), threading.Event()

    def render(row: int, query: str) -> str:
        if row == 1:
            rendering.set()
            go_on.wait(60)
        return "x" * 1_000_000

    with PreviewServer(render) as server:
        command = server.command.replace("{n}", "1").replace("{q}", "''")
        asking = subprocess.Popen(["sh", "-c", command], stdout=subprocess.DEVNULL, start_new_session=True)
        assert rendering.wait(60)
        os.killpg(asking.pid, 9)
        asking.wait()
        assert len(ask(server, "2")) == 1_000_000
        go_on.set()


def test_nothing_is_left_and_nobody_else_may_ask():
    with PreviewServer(lambda row, query: "x") as server:
        folder = Path(server.command.split()[1]).parent
        assert folder.stat().st_mode & 0o777 == 0o700
        ask(server, "1")
        for _ in range(600):
            if {path.name for path in folder.iterdir()} == {"ask", "asked"}:
                break
            time.sleep(0.1)
        assert {path.name for path in folder.iterdir()} == {"ask", "asked"}
    assert not folder.exists()
