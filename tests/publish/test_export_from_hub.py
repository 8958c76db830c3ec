"""Datasets on the Hub are exported as the run that was published."""

from __future__ import annotations

import pytest


@pytest.fixture
def published(hub, record, agentcap):
    """A run, and its dataset `me/base-captures`."""
    run = record({"id": "a", "input": "python3 call hi"}, {"id": "b", "input": "python3 call there"})
    assert agentcap("export", run.id, "--push", "me/base", "--no-scan").returncode == 0
    return run


def test_a_dataset_on_the_hub_gives_the_same_rows(published, agentcap, project):
    for target, into in (
        (published.id, "here"),
        ("hf://datasets/me/base-captures", "one"),
        ("me/base-captures", "two"),
    ):
        done = agentcap("export", target, "--format", "sft", "-o", into)
        assert (done.returncode, done.stderr) == (0, "")
    rows = {into: (project.path / into / "sft.jsonl").read_bytes() for into in ("here", "one", "two")}
    assert rows["here"].count(b"\n") == 2
    assert rows["here"] == rows["one"] == rows["two"]


def test_a_dataset_on_the_hub_is_published_in_another_format(published, agentcap, hub):
    done = agentcap("export", "me/base-captures", "--format", "sft", "--push", "me/rows", "--no-scan")
    assert (done.returncode, done.stderr) == (0, "")
    files = hub.files("me/rows")
    assert any(path.startswith("data/sft-") for path in files)
    (source,) = [path for path in hub.files("me/base-captures") if path.endswith(".parquet")]
    assert source.removeprefix("data/") in files["README.md"].decode()


def test_a_dataset_that_cannot_be_exported_is_one_line(published, agentcap):
    for arguments, said in (
        (["me/base-captures"], "is a parquet file already: pass --format, --output or --push"),
        (["me/none", "--format", "sft"], "me/none: "),
    ):
        done = agentcap("export", *arguments)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert said in done.stderr
