"""Datasets on the Hub: a list of files reads footers alone, and a list of calls what it shows."""

from __future__ import annotations

import json
import random
import re

import pytest

from pytest_agentcap.inspect.levels import FileLevel, MessageLevel, RequestLevel
from pytest_agentcap.inspect.target import resolve
from pytest_agentcap.publish.parquet import write_parquet
from pytest_agentcap.runs.layout import RunDirectory

FOOTER = 1 << 16


@pytest.fixture
def big_parquet(workspace, new_session):
    """A captures parquet that is several times as large as what a footer is read by."""
    session = new_session("big")
    noise = random.Random(7).randbytes(2_000_000).hex()
    session.call([session.SYSTEM, session.user(f"buy milk {noise}")], session.says("ok"), request_id="abcd" * 8)
    run = RunDirectory(workspace / ".agentcap" / "pi-local-2")
    session.save(run)
    write_parquet(run)
    return run.parquet.read_bytes()


@pytest.mark.parametrize("target", ["org/base-captures", "hf://datasets/org/base-captures", "hf://org/base-captures"])
def test_the_first_screen_of_a_dataset_reads_footers_only(hub, big_parquet, agentcap_parquet, target):
    hub.add("data/train-0.parquet", big_parquet)
    hub.add("data/train-1.parquet", agentcap_parquet.read_bytes())
    level = resolve(target)
    assert isinstance(level, FileLevel)
    lines = list(level.lines())
    assert [line.split()[:5] for line in lines] == [
        ["pi", "org/m", "1", "1", "train-0.parquet"],
        ["hermes", "m", "1", "3", "train-1.parquet"],
    ]
    assert "list files" in lines[1]
    assert [asked for asked in hub.requests if "GET /datasets" in asked]
    assert all(last - first < FOOTER for first, last in hub.ranges)
    assert sum(last - first + 1 for first, last in hub.ranges) < len(big_parquet) / 10
    before = len(hub.requests)
    assert list(level.lines()) == lines
    assert "data/train-0.parquet" in level.preview(0, ())
    assert len(hub.requests) == before


def test_calls_of_a_dataset_are_shown_down_to_their_messages(hub, big_parquet):
    hub.add("data/train-0.parquet", big_parquet)
    files = resolve("org/base-captures")
    list(files.lines())
    requests = files.open(0)
    assert isinstance(requests, RequestLevel)
    (line,) = requests.lines()
    assert re.search(r"1\.1 +abcdabcd  pi-local-2  \(init 2\) user: buy milk", line)
    messages = requests.open(0)
    assert isinstance(messages, MessageLevel)
    assert [row.split()[-1][:20] for row in messages.lines()][-1] == "ok"


def test_a_broken_file_is_told_beside_the_others(hub, agentcap_parquet):
    hub.add("data/train-0.parquet", b"PAR1 nonsense")
    hub.add("data/train-1.parquet", agentcap_parquet.read_bytes())
    level = resolve("org/base-captures")
    lines = list(level.lines())
    assert [line.split()[0] for line in lines] == ["-", "hermes"]
    assert "fault" in level.preview(0, ())
    with pytest.raises(ValueError, match=r"train-0.parquet: "):
        level.open(0)


def test_a_file_of_a_dataset_is_a_target(hub, agentcap_parquet):
    hub.add("data/train-1.parquet", agentcap_parquet.read_bytes())
    level = resolve("hf://datasets/org/base-captures/data/train-1.parquet")
    assert len(list(level.lines())) == 1


def test_a_dataset_that_is_not_there_is_told(hub):
    with pytest.raises((ValueError, OSError), match=r"org/nothing"):
        resolve("org/nothing")


def test_a_download_that_fails_is_a_row(hub, agentcap_parquet):
    hub.add("data/train-1.parquet", agentcap_parquet.read_bytes())
    level = resolve("org/base-captures")
    list(level.lines())
    hub.repos.clear()
    calls = level.open(0)
    (line,) = calls.lines()
    assert "(unreadable)" in line
    assert json.dumps(line)
