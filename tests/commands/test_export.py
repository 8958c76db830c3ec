"""`agentcap export`: which targets it takes, and what becomes of each."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pytest_agentcap.cli import main
from pytest_agentcap.commands.publishing import leave_out
from pytest_agentcap.publish.parquet import write_parquet
from pytest_agentcap.publish.schema import SCHEMA
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.recovery import Hold


@pytest.fixture
def make_run(workspace, new_session):
    """Save a run of one session that was tried twice."""

    def make(name: str, provider: str = "local", place: str = ".agentcap") -> RunDirectory:
        run = RunDirectory(workspace / place / name)
        for attempt in (1, 2):
            session = new_session(f"buy-a{attempt}", attempt=attempt)
            session.call([session.SYSTEM, session.user("buy milk")], session.says("done"))
            session.save(run)
        run.manifest.write_text(json.dumps({**json.loads(run.manifest.read_bytes()), "provider": provider}))
        return run

    return make


def test_runs_and_parquets_of_any_version_are_targets_together(make_run, tmp_path, capsys):
    run = make_run("pi-local-20260101-000000")
    old = pq.read_table(write_parquet(run).path).select(range(12)).append_column("mine", [["a", "b"]])
    pq.write_table(old, tmp_path / "old.parquet")
    run.parquet.unlink()
    assert main(["export", run.id, str(run.path), "old.parquet", "-o", "out"]) == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["old.parquet", f"{run.id}.parquet"]
    for name in ("old", run.id):
        table = pq.read_table(f"out/{name}.parquet")
        assert table.schema.remove_metadata() == SCHEMA
        assert table["task_id"].to_pylist() == old["task_id"].to_pylist()
    said = capsys.readouterr()
    assert "old.parquet: its column mine is left out" in said.err
    assert said.out.count(f"{run.id}.parquet: 2 rows") == 1


def test_the_highest_attempt_of_a_parquet_is_kept(make_run):
    run = make_run("pi-local-20260101-000000")
    write_parquet(run)
    assert main(["export", str(run.parquet), "--latest", "-o", "out"]) == 0
    assert pq.read_table("out/captures.parquet")["attempt"].to_pylist() == [2]
    told = json.loads(pq.read_metadata("out/captures.parquet").metadata[b"agentcap_summary"])
    assert told["calls"] == 1


def test_the_parquet_of_a_run_is_the_same_file_again(make_run):
    run = make_run("pi-local-20260101-000000")
    write_parquet(run)
    assert main(["export", str(run.parquet), "-o", "out"]) == 0
    assert Path("out/captures.parquet").read_bytes() == run.parquet.read_bytes()


def test_two_states_of_one_run_are_told(make_run, tmp_path, capsys):
    run = make_run("pi-local-20260101-000000")
    for name in ("a.parquet", "b.parquet"):
        write_parquet(run, tmp_path / name)
    assert main(["export", "a.parquet", "b.parquet", "--format", "sft", "-o", "out"]) == 0
    said = capsys.readouterr()
    assert said.err == f"agentcap: a.parquet and b.parquet both hold {run.id}: its calls come twice\n"
    assert "4 records" in said.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a.parquet"], "a.parquet is a parquet file already: pass --format, --output or --push"),
        (["a.parquet", "b/a.parquet", "-o", "out"], "two targets are called a.parquet: --output has room for one"),
        (["a.parquet", "-o", "."], "--output . is where a.parquet is: it would be replaced"),
        (["one", "other/.agentcap/one", "-o", "out"], "two targets are called one.parquet"),
        (["none"], "none is neither a run in"),
        (["none.parquet"], "none.parquet: no such file"),
        ([], "name the runs, or pass --all"),
        (["one", "--all"], "name the runs, or pass --all"),
    ],
)
def test_targets_that_cannot_be_are_one_line_and_nothing_is_written(make_run, tmp_path, capsys, words, said):
    make_run("one")
    parquet = write_parquet(make_run("one", place="other/.agentcap")).path
    (tmp_path / "b").mkdir()
    for name in ("a.parquet", "b/a.parquet"):
        (tmp_path / name).write_bytes(parquet.read_bytes())
    assert main(["export", *words]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not Path("out").exists()


def test_a_file_that_is_no_captures_parquet_does_not_stop_the_others(make_run, tmp_path, capsys):
    run = make_run("one")
    (tmp_path / "bad.parquet").write_bytes(b"nothing")
    assert main(["export", "bad.parquet", run.id, "-o", "out"]) == 1
    assert [path.name for path in Path("out").iterdir()] == ["one.parquet"]
    assert "agentcap: bad.parquet: not exported: bad.parquet: not a parquet file" in capsys.readouterr().err


def test_runs_that_nobody_named_are_left_out_of_a_push_when_they_cannot_be_published(make_run, capsys):
    good, made_up, running = make_run("good"), make_run("made-up", "scripted"), make_run("running")
    broken = make_run("broken")
    broken.manifest.write_text("{")
    hold = Hold.on(running)
    try:
        assert leave_out([good, made_up, running, broken]) == [good]
    finally:
        hold.release()
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "agentcap: left out: made-up is of the scripted model server and is not published"
    assert told[1] == "agentcap: left out: running is still being made: push it when it has ended"
    assert "broken/run.json: not a run manifest" in told[2]
