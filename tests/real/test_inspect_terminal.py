"""agentcap-inspect in a terminal: what is on the screen when somebody types, goes in, comes back, and resizes."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from pytest_agentcap.publish.parquet import write_parquet
from pytest_agentcap.runs.layout import RunDirectory

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("real")]

HOSTILE = "\x1b]0;evil\x07\x1b[2J\x1b[31mred\ttab\nline\r\x00nul\u202egnp.exe $(touch evil) `touch evil`"
INSPECT = "import sys; from pytest_agentcap.cli import main; sys.exit(main(['inspect', *sys.argv[1:]]))"


class Terminal:
    """A terminal of 140 × 40 in which one command runs."""

    def __init__(self, folder: Path, command: str, path: str) -> None:
        # A server for each terminal: names of folders come again in other workers, and in other checkouts.
        self._socket = f"agentcap-inspect-{uuid4().hex}"
        # The shell stays, so that what the command left on the screen can be read.
        told = f"PATH={shlex.quote(path)} {command}; echo exit=$?; sleep 600"
        size = ("-x", "140", "-y", "40")
        self._tmux("-f", "/dev/null", "new-session", "-d", *size, "-c", str(folder), "sh", "-c", told)

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(["tmux", "-L", self._socket, *arguments], capture_output=True, text=True, check=True)
        return done.stdout

    def keys(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def press_until(self, key: str, *texts: str) -> None:
        """Press a key until all texts are on the screen: one that comes between two screens of fzf is lost."""
        for _ in range(60):
            self.keys(key)
            for _ in range(10):
                screen = self.screen()
                if all(text in screen for text in texts):
                    return
                time.sleep(0.1)
        pytest.fail(f"{key} did not bring {texts}:\n{screen}")

    def type(self, text: str) -> None:
        self._tmux("send-keys", "-l", text)

    def resize(self, width: int, height: int) -> None:
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    def screen(self, *, colours: bool = False) -> str:
        return self._tmux("capture-pane", "-p", *(["-e"] if colours else []))

    def wait(self, *texts: str, without: str = "\0", colours: bool = False) -> str:
        """Wait until all texts are on the screen, and one is not."""
        for _ in range(600):
            screen = self.screen(colours=colours)
            if all(text in screen for text in texts) and without not in screen:
                return screen
            time.sleep(0.1)
        pytest.fail(f"{texts} without {without!r} did not come:\n{screen}")

    def close(self) -> None:
        # Where its only window is gone, the server is gone too.
        subprocess.run(["tmux", "-L", self._socket, "kill-server"], capture_output=True, check=False)


@pytest.fixture(params=["path", "bundled"])
def path(request: pytest.FixtureRequest, tmp_path: Path, need: Callable[[str], None]) -> str:
    """A PATH with the system's fzf, and one without any, where the wheel's is used."""
    need("tmux")
    need("fzf")
    if request.param == "path":
        return f"{Path(str(shutil.which('fzf'))).parent}:/usr/bin:/bin"
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "mkfifo", "cat", "touch", "sleep"):
        (folder / name).symlink_to(str(shutil.which(name)))
    return str(folder)


@pytest.fixture
def start(tmp_path: Path, path: str) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def run(*words: str, after: str = "") -> Terminal:
        command = shlex.join([sys.executable, "-c", INSPECT, *words]) + after
        opened.append(Terminal(tmp_path, command, path))
        return opened[-1]

    yield run
    for terminal in opened:
        terminal.close()


@pytest.fixture
def run(tmp_path: Path, new_session: Any) -> RunDirectory:
    """Two sessions: one whose second call is full of what steers terminals, and one of a refused call."""
    run = RunDirectory(tmp_path / ".agentcap" / "pi-local-1")
    session = new_session("buy")
    messages = [session.SYSTEM, session.user("buy milk")]
    asks = session.says("let me look", ("c1", {"command": "ls fridge"}))
    session.call(messages, asks, request_id="aaaa1" + "0" * 27)
    result = session.result("c1", f"{HOSTILE} {'x' * 300_000} needle")
    session.call([*messages, asks, result], session.says("bought"), request_id="aaaa2" + "0" * 27)
    session.save(run)
    other = new_session("wash", trial=2, verdict="infra", task_id="wash")
    other.call([session.SYSTEM, session.user("wash the dishes")], None, request_id="cccc" * 8)
    other.save(run)
    return run


def test_runs_calls_and_messages_are_walked_through_and_back(start, run, tmp_path):
    terminal = start()
    screen = terminal.wait("run>", "RUN_ID", "pi-local-1", "provider  local")
    terminal.keys("Enter")
    screen = terminal.wait("request>", "1.1", "1.2", "2.1", "PROMPT", "MESSAGES (init 2)")
    assert "aaaa1000  (init 2) user: buy milk" in screen
    assert "aaaa2000  (+2) assistant→bash: let me look" in screen
    assert "(init 2) [503] user: wash" in screen
    assert "1970-01-01 00:00:01 UTC" in screen
    assert "10 → 1 tokens" in screen
    terminal.keys("Down")
    screen = terminal.wait("rid    aaaa2", "MESSAGES (+2)", "2 as before")
    assert "\\u001b]0;evil\\u0007" in screen
    terminal.keys("Enter")
    screen = terminal.wait("message>", "[ 0]  system", "[ 2]  assistant→bash", "[ 3]  tool", "response")
    assert "bought" in screen
    terminal.keys("Escape")
    # The cursor is where it was.
    terminal.wait("request>", "rid    aaaa2")
    terminal.keys("Escape")
    terminal.wait("run>")
    terminal.keys("Escape")
    terminal.wait("exit=0")
    assert not (tmp_path / "evil").exists()


def test_text_that_is_not_shown_is_found_and_highlighted(start, run):
    terminal = start("pi-local-1")
    terminal.wait("request>", "2.1")
    terminal.type("'needle")
    terminal.wait("'needle", "1/3", "rid    aaaa2", without="2.1")
    # Bold red in the preview, 300,000 characters behind the beginning of the message.
    terminal.wait("\x1b[1m\x1b[31mneedle", colours=True)
    terminal.keys("Enter")
    terminal.wait("message>")
    terminal.keys("Escape")
    terminal.wait("'needle", "1/3", "rid    aaaa2")
    terminal.keys("C-u")
    terminal.type("'nothing-like-it")
    terminal.wait("0/3", without="aaaa2")
    terminal.keys("Enter")
    # Nothing is picked, and the list comes again.
    terminal.press_until("C-u", "3/3", "rid    ")


def test_the_list_fits_a_terminal_that_changes_its_size(start, run):
    terminal = start("pi-local-1")
    terminal.wait("request>", "rid    aaaa1")
    terminal.resize(70, 30)
    # Too narrow for both side by side: the preview is below, and nothing beside a row.
    terminal.wait("rid    aaaa1", "aaaa1000  (init 2) user: buy milk\n")
    terminal.resize(200, 50)
    terminal.wait("user: wash the dishes", "rid    aaaa1")
    terminal.keys("C-_")
    terminal.wait("aaaa1000", without="rid    aaaa1")


def test_a_terminal_that_is_closed_leaves_no_pipes_behind(start, run, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    terminal = start("pi-local-1")
    terminal.wait("request>", "rid    aaaa1")
    assert list(tmp_path.glob("agentcap-inspect-*"))
    terminal.close()
    for _ in range(600):
        if not list(tmp_path.glob("agentcap-inspect-*")):
            return
        time.sleep(0.1)
    pytest.fail("the pipes of previews are still there")


def test_the_id_of_the_call_that_is_picked_is_printed(start, run):
    terminal = start("--rid", after=" > picked")
    terminal.wait("run>")
    terminal.keys("Enter")
    terminal.wait("request>", "2.1")
    terminal.keys("Down")
    terminal.wait("rid    aaaa2")
    terminal.keys("Enter")
    terminal.wait("exit=0")
    assert (run.path.parent.parent / "picked").read_text() == "aaaa2" + "0" * 27 + "\n"


def test_picking_no_id_is_an_exit_status(start, run):
    terminal = start("--rid", "pi-local-1")
    terminal.wait("request>")
    terminal.keys("C-c")
    terminal.wait("exit=130")


def test_a_message_that_is_picked_is_printed_whole(start, run):
    terminal = start("pi-local-1")
    terminal.wait("request>")
    terminal.keys("Enter")
    terminal.wait("message>", "[ 1]  user")
    terminal.type("assistant | ^response")
    terminal.wait("response→bash")
    terminal.keys("C-u")
    terminal.type("milk")
    terminal.wait("1/", "buy milk")
    terminal.keys("Enter")
    assert "buy milk\nexit=0" in terminal.wait("exit=0")


def test_parquet_files_are_walked_through(start, run, tmp_path):
    (tmp_path / "data").mkdir()
    write_parquet(run, tmp_path / "data" / "train-0.parquet")
    terminal = start("data")
    terminal.wait("file>", "AGENT", "train-0.parquet", "calls     3")
    terminal.keys("Enter")
    terminal.wait("request>", "pi-local-1  (init 2)", "rid    aaaa1")
    terminal.keys("Enter")
    terminal.wait("message>", "response→bash")
    terminal.keys("Escape")
    terminal.wait("request>", "rid    aaaa1")
    terminal.keys("Escape")
    terminal.wait("file>")


def test_a_run_that_is_gone_leaves_the_list_with_a_line(start, run):
    terminal = start("pi-local-1")
    terminal.wait("request>", "2.1", "rid    aaaa1")
    shutil.rmtree(run.captures)
    terminal.keys("Enter")
    terminal.wait("request>", "No such file or directory", "rid    aaaa1")


def test_rows_come_while_they_are_read(start, run, tmp_path):
    for at in range(400):
        text = (run.captures / ("aaaa1" + "0" * 27 + ".request.json")).read_text()
        (run.captures / f"{at:032x}.request.json").write_text(text.replace("aaaa1" + "0" * 27, f"{at:032x}"))
    terminal = start("pi-local-1")
    terminal.wait("request>", "403/403")
