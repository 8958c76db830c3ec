"""`agentcap merge` on runs of which the tests know what they hold; real shards are in tests/real."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from pytest_agentcap.cli import main
from pytest_agentcap.conversation.sources import Faults, read_parquet
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.results import update_result


@pytest.fixture
def shard(tmp_path, new_session, monkeypatch):
    """Make the run of a shard that was to run its sessions and those named besides."""
    monkeypatch.chdir(tmp_path)

    def make(index: int, *names: str, missing: tuple[str, ...] = (), started: float = 1.0, **facts) -> RunDirectory:
        run = RunDirectory(tmp_path / ".agentcap" / f"pi-local-20260101-00000{int(started)}-shard{index}of2-abcdef")
        for name in names:
            session = new_session(name, task_id=name)
            session.call([session.SYSTEM, session.user(f"buy {name}")], session.says("bought"))
            session.save(run)
            update_result(run.result(name), nodeid=f"x::{name}", task_id=name, started_at=started)
        told = {"agent": "pi", "model": "org/m", "provider": "local", "shard": f"{index}/2", **facts}
        selected = {"sessions": 3, "sha256": "abc"}
        expected = [f"x::{name}" for name in (*names, *missing)]
        run.manifest.write_text(json.dumps({**told, "tasks": []}))
        run.plan.write_text(json.dumps({"nodeids": expected, "selected": selected}))
        return run

    return make


def test_complete_shards_become_one_file(shard, capsys, tmp_path):
    shard(1, "milk", "tea")
    shard(2, "rice")
    assert main(["merge", "--all", "-o", "all.parquet"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[1].split() == ["pi", "org/m", "2", "3", "3", "0", "0", "0"]
    assert out[2].startswith("all.parquet: 3 rows, ")
    rows = pq.read_table("all.parquet")
    assert sorted(rows["task_id"].to_pylist()) == ["milk", "rice", "tea"]
    assert len(set(rows["run_id"].to_pylist())) == 2
    assert pq.read_metadata("all.parquet").metadata[b"run_id"] == b"all"
    faults = Faults()
    assert len(list(read_parquet("all.parquet", faults))) == 3
    assert not faults.lines
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["all.parquet"]


def test_what_is_missing_is_named_with_the_shard_to_run(shard, capsys):
    run = shard(1, "milk", missing=("tea",))
    assert main(["merge", run.id]) == 1
    said = capsys.readouterr()
    assert said.out.splitlines()[1].split() == ["pi", "org/m", "1", "3", "1", "0", "0", "2"]
    assert said.err.splitlines() == [
        "agentcap: no run is of shard 2/2: run --shard 2/2",
        "agentcap: run again: shard 1/2",
        "agentcap: missing: x::tea",
    ]


def test_a_shard_run_again_counts_its_attempts_on(shard, capsys):
    first = shard(1, "milk", "tea")
    update_result(first.result("tea"), verdict="infra")
    shard(2, "rice")
    assert main(["merge", "--all"]) == 1
    assert "agentcap: infra: x::tea" in capsys.readouterr().err
    shard(1, "milk", "tea", started=5.0)
    assert main(["merge", "--all", "-o", "latest.parquet"]) == 0
    assert main(["merge", "--all", "-o", "each.parquet", "--all-attempts"]) == 0
    latest, each = (
        sorted((row["task_id"], row["attempt"]) for row in pq.read_table(path).to_pylist())
        for path in ("latest.parquet", "each.parquet")
    )
    assert latest == [("milk", 2), ("rice", 1), ("tea", 2)]
    assert each == [("milk", 1), ("milk", 2), ("rice", 1), ("tea", 1), ("tea", 2)]


def test_a_run_of_unknown_tests_is_passed_over_and_said_so(shard, capsys):
    shard(1, "milk", "tea")
    shard(2, "rice")
    old = shard(1, "milk", started=7.0)
    old.plan.unlink()
    assert main(["merge", "--all"]) == 0
    assert f"{old.id} is left out: it has no plan.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "merge: name the runs, or pass --all"),
        (["--all", "x"], "merge: name the runs, or pass --all"),
        (["--all", "--all-attempts"], "--all-attempts goes with -o"),
        (["nowhere"], "nowhere is neither a run in"),
        (["--all", "-o", "x.parquet"], "-o is for one agent and model over one set of tests"),
    ],
)
def test_what_cannot_be_merged_is_said_in_one_line(shard, capsys, words, said):
    shard(1, "milk")
    shard(2, "rice", agent="goose")
    assert main(["merge", *words]) == 2
    assert said in capsys.readouterr().err
