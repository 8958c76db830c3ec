from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("real")]

AGENT = """
name = "slow"
version = "1"
api = "chat"
executable = "sh"
[command]
first = ["sh", "-c", '''
curl -s $AGENTCAP_PROXY_URL/chat/completions -d '{}' > /dev/null
while [ ! -e {flag} ]; do sleep 0.1; done
''']
next = ["true"]
prompt = "stdin"
[session]
id = "chosen"
"""


def tmux(*arguments: str) -> str:
    return subprocess.run(["tmux", "-L", "agentcap", *arguments], check=True, capture_output=True, text=True).stdout


def wait_for(text: str, session: str) -> str:
    for _ in range(600):
        screen = tmux("capture-pane", "-p", "-t", session)
        if text in screen:
            return screen
        time.sleep(0.1)
    pytest.fail(f"{text!r} is not on the screen:\n{screen}")


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_terminal_shows_what_runs_and_is_clean_afterwards(
    tmp_path: Path, need: Callable[[str], None], workers: str
) -> None:
    need("tmux")
    need("curl")
    flag = tmp_path / "go"
    (tmp_path / "agents" / "slow").mkdir(parents=True)
    (tmp_path / "agents" / "slow" / "agent.toml").write_text(AGENT.replace("{flag}", str(flag)))
    (tmp_path / "tasks.txt").write_text("wait for the flag\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = f"{shlex.quote(sys.executable)} -m pytest tasks.txt --agent slow --sandbox host -n {workers}"
    session = f"live{workers}"
    tmux("new-session", "-d", "-s", session, "-x", "100", "-y", "30", "-c", str(tmp_path), f"{command}; sleep 600")
    try:
        screen = wait_for("turn 1: 1 calls, last", session)
        assert sum("turn 1:" in line for line in screen.splitlines()) == 1
        flag.touch()
        screen = wait_for("look at it with", session)
        assert "turn 1:" not in screen
        assert "1 passed" in wait_for("1 passed", session)
    finally:
        tmux("kill-session", "-t", session)
