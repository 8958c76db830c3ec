from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from pytest_agentcap.cli import main
from pytest_agentcap.inspect.levels import FileLevel, RequestLevel, RunLevel
from pytest_agentcap.inspect.target import resolve
from pytest_agentcap.runs.captures import Capture
from pytest_agentcap.runs.listing import TargetError


def test_without_a_target_the_workspace_is_shown(run, monkeypatch, tmp_path):
    level = resolve(None)
    assert isinstance(level, RunLevel)
    assert [line.split() for line in level.lines()] == [[run.id, "pi", "m", "1/2", "4"]]
    assert "provider  local" in level.preview(0, ())
    monkeypatch.chdir("/")
    monkeypatch.setenv("AGENTCAP_WORKSPACE", str(tmp_path))
    assert isinstance(resolve(None), RunLevel)


@pytest.mark.parametrize("target", ["pi-local-1", ".agentcap/pi-local-1", ".agentcap/pi-local-1/captures"])
def test_a_run_is_named_by_its_id_or_its_place(run, target):
    level = resolve(target)
    assert isinstance(level, RequestLevel)
    assert level.source.name == run.id


@pytest.mark.parametrize("target", [".", ".agentcap"])
def test_a_workspace_is_named_by_its_folder(run, target):
    assert isinstance(resolve(target), RunLevel)


def test_parquet_files_are_shown_alone_or_as_a_folder(parquet, workspace):
    assert isinstance(resolve(str(parquet)), RequestLevel)
    (workspace / "data").mkdir()
    (workspace / "data" / "train-0.parquet").write_bytes(parquet.read_bytes())
    level = resolve("data")
    assert isinstance(level, FileLevel)
    (line,) = level.lines()
    assert line.split()[:5] == ["pi", "org/m", "1", "4", "train-0.parquet"]
    assert isinstance(level.open(0), RequestLevel)


def test_a_rid_prints_its_request(run, capsys):
    assert isinstance(resolve("aaaa1"), Capture)
    assert main(["inspect", "aaaa1"]) == 0
    assert '"content": "buy milk"' in capsys.readouterr().out
    assert main(["inspect", "aaaa1", "--rid"]) == 0
    assert capsys.readouterr().out == "aaaa1" + "0" * 27 + "\n"


def test_an_ambiguous_rid_and_an_unknown_target_are_told(run, capsys):
    assert main(["inspect", "aaaa"]) == 2
    assert "aaaa is ambiguous: aaaa10" in capsys.readouterr().err
    assert main(["inspect", "nothing"]) == 2
    assert "nothing is no run, call, workspace or parquet file" in capsys.readouterr().err


def test_an_empty_workspace_is_told(workspace):
    with pytest.raises(TargetError, match="no runs in"):
        resolve(None)


def test_without_a_terminal_the_other_commands_are_named(run):
    program = "import sys; from pytest_agentcap.cli import main; sys.exit(main(['inspect']))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, start_new_session=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("agentcap: inspect needs a terminal")
    assert "agentcap show RID --messages" in done.stderr


def test_without_fzf_the_command_to_install_it_is_told(run, tmp_path):
    """On a terminal, which there must be before fzf is looked for."""
    (tmp_path / "no" / "iterfzf").mkdir(parents=True)
    (tmp_path / "no" / "iterfzf" / "__init__.py").write_text("raise ImportError")
    program = "import sys; from pytest_agentcap.cli import main; sys.exit(main(['inspect']))"
    environment = {**os.environ, "PATH": "", "PYTHONPATH": str(tmp_path / "no"), "TERM": "xterm"}
    child, terminal = pty.fork()
    if child == 0:
        os.execve(sys.executable, [sys.executable, "-c", program], environment)
    told = b""
    try:
        while piece := os.read(terminal, 4096):
            told += piece
    except OSError:
        # Linux says that a terminal's other end is gone by an error.
        pass
    finally:
        os.close(terminal)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 2
    (line,) = told.decode().splitlines()
    assert "pip install iterfzf" in line
