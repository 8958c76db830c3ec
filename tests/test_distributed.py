from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from pytest_agentcap.distributed import Assignment, hand_over, is_worker

CRASH = """
    import os

    def test_crash(agent_session):
        assert agent_session.run("python3 call crash").verdict == "captured"
        os._exit(3)
"""


def test_a_worker_that_dies_loses_nothing_but_its_session(project):
    project.write_shell_agent()
    project.write("test_crash.py", CRASH)
    project.write_jsonl(*({"id": f"t{n}", "input": f"python3 call {n}"} for n in range(4)))
    result = project.pytest("--agent", "shell", "--sandbox", "host", "-n2", "prompts.jsonl", "test_crash.py")
    assert result.ret == 1
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(["*worker 'gw?' crashed while running 'test_crash.py::test_crash*"])
    results = {result["session"]: result for result in project.results()}
    assert {name: result["verdict"] for name, result in results.items()} == {
        "t0": "captured",
        "t1": "captured",
        "t2": "captured",
        "t3": "captured",
        "test_crash": "infra",
    }
    assert results["test_crash"]["reason"] == "its end was not recorded: its worker died"
    [run] = project.runs()
    rows = pq.read_table(run / "captures.parquet", columns=["session", "verdict", "complete"]).to_pylist()
    assert sorted((row["session"], row["verdict"]) for row in rows) == sorted(
        (name, result["verdict"]) for name, result in results.items()
    )
    assert all(row["complete"] for row in rows)
    assert not list(run.glob("captures/*.journal"))
    [manifest] = project.manifests()
    assert {task["session"]: task["verdict"] for task in manifest["tasks"]}["test_crash"] == "infra"


def test_an_assignment_travels_as_plain_data_and_finds_its_runs():
    given = Assignment("1-2-3", {"/agents/pi\norg/M": "/runs/a", "/agents/pi\nm2": "/runs/b"}, None)
    workerinput: dict[str, object] = {}
    hand_over(given, workerinput)
    [sent] = workerinput.values()
    taken = Assignment(**sent)
    assert taken == given
    assert taken.run("/agents/pi", "m2").path == Path("/runs/b")
    assert taken.state.id == "1-2-3"


def test_a_plain_session_is_no_worker(pytestconfig):
    class Plain:
        pass

    assert not is_worker(Plain())
    assert is_worker(pytestconfig) == hasattr(pytestconfig, "workerinput")
