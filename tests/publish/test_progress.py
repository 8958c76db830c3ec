"""The bar that shows how far a long export is."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios

import pytest

EXPORT = "import sys; from pytest_agentcap.cli import main; raise SystemExit(main(['export', sys.argv[1]]))"


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_is_drawn_on_a_terminal_and_nowhere_else(leaky_run, terminal):
    if not terminal:
        done = subprocess.run([sys.executable, "-c", EXPORT, str(leaky_run.path)], capture_output=True)
        assert (done.returncode, done.stderr) == (0, b"")
        return
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    done = subprocess.run([sys.executable, "-c", EXPORT, str(leaky_run.path)], stderr=theirs, stdout=subprocess.PIPE)
    os.set_blocking(ours, False)
    shown = os.read(ours, 1 << 16).decode()
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 0
    assert f"{leaky_run.id}:" in shown
    assert " calls/s" in shown
