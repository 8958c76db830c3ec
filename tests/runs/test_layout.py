from __future__ import annotations

import os
import resource
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pytest_agentcap.runs.layout import (
    RunDirectory,
    create_run,
    create_whole,
    find_runs,
    workspace_folder,
    write_private,
    write_whole,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_the_workspace_is_the_argument_else_the_environment_else_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AGENTCAP_WORKSPACE", raising=False)
    assert workspace_folder() == tmp_path / ".agentcap"
    monkeypatch.setenv("AGENTCAP_WORKSPACE", "/elsewhere")
    assert workspace_folder() == Path("/elsewhere/.agentcap")
    assert workspace_folder(tmp_path / "mine") == tmp_path / "mine" / ".agentcap"
    assert workspace_folder(tmp_path / ".agentcap") == tmp_path / ".agentcap"
    (tmp_path / ".agentcap").mkdir()
    monkeypatch.chdir(tmp_path / ".agentcap")
    assert workspace_folder(".").resolve() == tmp_path / ".agentcap"


def test_a_run_is_named_after_agent_provider_and_time(tmp_path):
    run = create_run(tmp_path / ".agentcap", "pi", "hf-router/together", NOW)

    assert run.id == "pi-hf-router-together-20260102-030405"
    assert all(place.is_dir() for place in (run.captures, run.sessions, run.results))


def test_the_folder_of_runs_ignores_itself_in_git_and_keeps_a_users_own_rules(tmp_path):
    create_run(tmp_path, "pi", "local", NOW)
    assert (tmp_path / ".gitignore").read_text() == "*\n"

    (tmp_path / ".gitignore").write_text("mine\n")
    create_run(tmp_path, "pi", "local", NOW)
    assert (tmp_path / ".gitignore").read_text() == "mine\n"


def test_a_name_that_is_taken_gets_a_number(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: create_run(tmp_path, "pi", "local", NOW), range(8)))

    assert sorted(run.id for run in runs) == ["pi-local-20260102-030405"] + [
        f"pi-local-20260102-030405-{number}" for number in range(2, 9)
    ]


@pytest.mark.parametrize("agent", ["../up", "a/b", "a b", "/root", "ä\n"])
def test_no_name_leads_out_of_the_folder(tmp_path, agent):
    run = create_run(tmp_path / "runs", agent, "../local", NOW)
    assert run.path.parent == tmp_path / "runs"
    assert run.captures.is_dir()


def test_runs_are_found_by_what_is_in_them(tmp_path):
    assert list(find_runs(tmp_path / "absent")) == []
    second = create_run(tmp_path, "pi", "local", NOW)
    first = create_run(tmp_path, "loop", "local", NOW)
    (tmp_path / "other").mkdir()

    assert list(find_runs(tmp_path)) == [first, second]


def test_places_inside_a_run(tmp_path):
    run = RunDirectory(tmp_path / "r")
    assert run.output("a-t2", 3, "err") == run.sessions / "a-t2_turn_03.err"
    assert run.journal("a") == run.captures / "a.journal"
    assert run.result("a") == run.results / "a.json"


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / ("x" * 250)
    write_whole(path, b"old", mode=0o600)
    before = path.open("rb")
    write_whole(path, b"new", mode=0o600)

    assert before.read() == b"old"
    before.close()
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("write", [write_whole, create_whole])
def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch, write):
    path = tmp_path / "file.json"

    def full(*arguments):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace" if write is write_whole else "link", full)
        with pytest.raises(OSError, match="disk full"):
            write(path, b"data")
    assert list(tmp_path.iterdir()) == []

    path.mkdir()
    if write is write_whole:
        with pytest.raises(OSError):
            write(path, b"data")
    else:
        assert write(path, b"data") is False
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("room", [0, 1, 5000])
def test_a_capture_that_the_disk_takes_a_part_of_only_is_an_error_and_no_file(tmp_path, room):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            write_private(tmp_path / "file.json", b"x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_only_one_of_many_creates_a_file(tmp_path):
    path = tmp_path / "claim.json"
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: create_whole(path, b"%d" % number), range(32)))

    assert sum(made) == 1
    assert path.read_bytes() == b"%d" % made.index(True)
    assert list(tmp_path.iterdir()) == [path]
