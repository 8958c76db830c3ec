from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_agentcap.joining import JoinError, Standing, match_runs, repeatable, take
from pytest_agentcap.runs.layout import RunDirectory, create_run, write_whole
from pytest_agentcap.runs.recovery import Hold
from pytest_agentcap.runs.results import SessionResult, save_result


def pins(agent="pi", model="m", upstream="http://u", label=None, **changes):
    return {"agent": agent, "model": model, "upstream": upstream, "label": label, "turns": 1, **changes}


@pytest.fixture
def make(tmp_path):
    def make(pinned, invocation="one") -> RunDirectory:
        run = create_run(tmp_path, pinned["agent"] if pinned else "old", "local")
        facts = {"pins": pinned, "invocation": invocation} if pinned else {}
        write_whole(run.manifest, json.dumps(facts).encode())
        return run

    return make


def match(tmp_path, named, wanted, force=False):
    found = match_runs("--resume", [run.id for run in named], tmp_path, wanted, force=force)
    return {key: existing.run.id for key, existing in found.items()}


def result(session, nodeid=None, attempt=1, **changes) -> SessionResult:
    facts = {"verdict": "captured", "ended_at": 2.0, "corpus_hash": "c1", **changes}
    return SessionResult(
        session, session, 1, "c", "tasks.txt:3", 1, attempt, "pi", "1", "m", "host", nodeid or session, "p", 1.0,
        **facts,
    )  # fmt: skip


def test_each_cell_of_a_matrix_goes_to_the_run_of_its_agent_and_model_whichever_was_named(tmp_path, make):
    cells = {f"{agent}-{model}": pins(agent, model) for agent in ("pi", "loop") for model in ("m", "n")}
    runs = {key: make(each) for key, each in cells.items()}
    make(pins(), invocation="another")
    assert match(tmp_path, [runs["loop-n"]], cells) == {key: run.id for key, run in runs.items()}


def test_a_model_of_two_servers_goes_to_the_run_of_each(tmp_path, make):
    cells = {url: pins(upstream=url) for url in ("http://a", "http://b")}
    runs = {url: make(cells[url]) for url in reversed(cells)}
    assert match(tmp_path, list(runs.values()), cells) == {url: run.id for url, run in runs.items()}


def test_an_agent_or_model_that_has_no_run_yet_is_left_out(tmp_path, make):
    run = make(pins())
    assert match(tmp_path, [run], {"old": pins(), "new": pins(model="n")}) == {"old": run.id}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"turns": 2}, "turns: 1 in the run, 2 now"),
        ({"model": "n"}, "model: m in the run, n now"),
        (
            {"upstream": "http://v", "agent_version": "2"},
            "upstream: http://u in the run, http://v now; agent_version: none",
        ),
        ({"graders": {"g.py": "a" * 64}}, "graders: none in the run, g.py aaaaaaaaaaaa now"),
    ],
)
def test_a_run_that_was_made_with_something_else_is_refused_with_the_difference_unless_forced(
    tmp_path, make, changed, told
):
    run = make(pins())
    with pytest.raises(JoinError) as refused:
        match(tmp_path, [run], {"cell": pins(**changed)})
    assert str(refused.value).startswith(f"--resume {run.id}: it was made with something else: {told}")
    assert match(tmp_path, [run], {"cell": pins(**changed)}, force=True) == {"cell": run.id}


def test_a_run_that_fits_nowhere_or_is_not_there_or_says_nothing_is_refused(tmp_path, make):
    run, old = make(pins("codex")), make(None)
    with pytest.raises(JoinError, match=f"{run.id}: it is of codex and m, not run now"):
        match(tmp_path, [run], {"a": pins(), "b": pins("loop")}, force=True)
    with pytest.raises(JoinError, match="does not say what it was made with"):
        match(tmp_path, [old], {"a": pins()})
    with pytest.raises(JoinError, match="--resume nowhere: neither a run in"):
        match_runs("--resume", ["nowhere"], tmp_path, {"a": pins()}, force=False)


def test_a_run_that_another_controller_works_in_is_not_taken(make):
    run = make(pins())
    hold = Hold.on(run)
    with pytest.raises(JoinError, match="another pytest session is at work"):
        take("--into", run, ())
    hold.release()
    take("--into", run, ()).release()


def test_what_stands_is_the_highest_attempt_that_ended_and_that_nothing_else_broke(make, tmp_path):
    run = make(pins())
    for each in (
        result("kept"),
        result("failed", verdict="failed"),
        result("broken", verdict="infra"),
        result("killed", verdict=None, ended_at=None),
        result("twice"),
        result("twice-a2", "twice", 2, verdict="infra"),
        result("mended", verdict="infra"),
        result("mended-a2", "mended", 2),
    ):
        save_result(run, each)
    Standing.of([run], deselect=True, check=True).write(tmp_path)
    read = Standing.read(tmp_path)
    assert read.deselected == {"kept", "failed", "mended"}
    assert Standing.of([run], deselect=False, check=True).deselected == set()


def test_another_corpus_file_or_grader_than_before_is_told_unless_forced(make, tmp_path):
    run = make(pins())
    save_result(run, result("a", grader_hashes={"g.py": "g1"}))
    known = Standing.of([run], deselect=True, check=True)
    assert known.changed_corpus("tasks.txt:9", "c1") is None
    assert known.changed_corpus("other.txt:9", "c2") is None
    assert "tasks.txt: its content has changed" in str(known.changed_corpus("tasks.txt:1", "c2"))
    assert known.changed_grader({"g.py": "g1", "new.py": "x"}) is None
    assert "grader g.py: it has changed" in str(known.changed_grader({"g.py": "g2"}))
    assert Standing.of([run], deselect=True, check=False).changed_corpus("tasks.txt:1", "c2") is None


def test_without_anything_to_add_to_nothing_is_left_out(tmp_path: Path):
    assert Standing.read(tmp_path) == Standing()


def test_a_command_is_repeated_without_its_key_and_without_the_run_it_named():
    words = ("c", "--agent", "pi", "--api-key", "sk-1", "--agentcap-resume=x", "--force", "-k", "a b", "-o", "k=sk-2")
    assert repeatable(words, ["sk-2"]) == ("c", "--agent", "pi", "-k", "a b", "-o")


def test_a_killed_run_is_resumed_by_the_command_that_ls_tells(project, capsys):
    project.write_shell_agent()
    project.write_jsonl(
        *({"id": f"t{n}", "input": f"python3 call {n}; {'exit 1' if n == 1 else ''}"} for n in range(4))
    )
    project.write("b/test_crash.py", CRASH)
    options = ("--agent", "shell", "--sandbox", "host", "prompts.jsonl", "b")
    assert project.pytest(*options, "-n1", "--maxfail=1", "-p", "no:cacheprovider").ret != 0
    [run] = project.runs()
    from pytest_agentcap.cli import main

    assert main(["ls", str(project.path)]) == 0
    told = capsys.readouterr()
    assert "*" in told.out
    assert f"--resume {run.name}" in told.err
    (project.path / "mended").touch()
    result = project.pytest(*options, "-n2", "--resume", run.name)
    result.stdout.fnmatch_lines([f"agentcap: resume {run.name}: * sessions stand and are deselected, *"])
    assert project.runs() == [run]
    found = {(each["task_id"], each["attempt"]): each["verdict"] for each in project.results()}
    latest = {task: found[task, max(n for t, n in found if t == task)] for task, _ in found}
    assert latest == {
        "t0": "captured",
        "t1": "agent_error",
        "t2": "captured",
        "t3": "captured",
        "test_crash": "captured",
    }
    assert found["t0", 1] == "captured"
    assert ("t0", 2) not in found
    again = project.pytest(*options, "--resume", run.name)
    assert again.ret == 0
    again.assert_outcomes(deselected=5)
    assert len(json.loads((run / "run.json").read_bytes())["continued"]) == 2
    project.write_jsonl({"id": "t0", "input": "python3 call another"})
    refused = project.pytest(*options, "-n2", "--resume", run.name)
    refused.stdout.fnmatch_lines(["*prompts.jsonl: its content has changed since the run was made*"])
    into = project.pytest(*options, "--into", run.name, "--force", "-k", "t0")
    into.assert_outcomes(passed=1, deselected=1)
    assert {each["attempt"] for each in project.results() if each["task_id"] == "t0"} == {1, 2}


CRASH = """
    import os, pathlib

    def test_crash(agent_session):
        outcome = agent_session.run("python3 call crash")
        if not (pathlib.Path(__file__).parents[1] / "mended").exists():
            os._exit(3)
        agent_session.stop()
        outcome.check()
"""
