from __future__ import annotations

import json

SHARED = """
    import pytest

    @pytest.fixture
    def shared_home():
        return True
"""
SOME = """
    import pytest

    @pytest.mark.skip
    def test_skipped(agent_session): pass

    def test_plain(): pass

    def test_mine(agent_session): agent_session.run("python3 call hi").check()
"""


def plans(project) -> dict:
    """Return manifests and plans of all runs, by shard."""
    found = [
        json.loads((run / "run.json").read_bytes()) | json.loads((run / "plan.json").read_bytes())
        for run in project.runs()
    ]
    return {each["shard"]: each for each in found}


def test_a_shard_tells_what_it_was_to_run_and_of_how_many(project):
    project.write_shell_agent()
    project.write("test_some.py", SOME)
    project.write_jsonl(*({"id": f"t{n}", "input": f"python3 call {n}"} for n in range(6)))
    chosen = ("--agent", "shell", "--sandbox", "host", "--limit", "4")
    for index in (1, 2):
        result = project.pytest(*chosen, "--shard", f"{index}/2", "prompts.jsonl", "test_some.py")
        assert result.ret == 0
    runs = plans(project)
    assert runs["1/2"]["selected"] == runs["2/2"]["selected"]
    assert runs["1/2"]["selected"]["sessions"] == 6
    expected = [*runs["1/2"]["nodeids"], *runs["2/2"]["nodeids"]]
    assert sorted(nodeid.partition("::")[2] for nodeid in expected) == [
        "test_mine[shell-scripted]",
        "test_skipped[shell-scripted]",
        *(f"test_task[shell-scripted-t{n}]" for n in range(4)),
    ]
    assert [nodeid for run in runs.values() for nodeid in run.get("skipped", ())] == [
        "test_some.py::test_skipped[shell-scripted]"
    ]
    ran = {result["nodeid"] for result in project.results()}
    assert ran == set(expected) - {"test_some.py::test_skipped[shell-scripted]"}
    names = {run.name.partition("-shard")[2].partition("-")[0] for run in project.runs()}
    assert names == {"1of2", "2of2"}


def test_a_shard_without_tests_is_no_failure_and_tells_so(project):
    project.write_tasks("hello")
    empty = [index for index in range(1, 4) if not project.ids("--shard", f"{index}/3")]
    assert len(empty) == 2
    result = project.capture("--shard", f"{empty[0]}/3")
    assert result.ret == 0
    [plan] = plans(project).values()
    assert (plan["nodeids"], plan["selected"]["sessions"], plan["tasks"]) == ([], 1, [])
    # Without tests at all it is one, as pytest has it.
    assert project.capture("--shard", "1/3", "-k", "nothing").ret == 5


def test_tasks_that_share_a_home_share_a_shard(project):
    project.write("shared/conftest.py", SHARED)
    project.write_tasks(*(f"say {n}" for n in range(8)), name="shared/tasks.txt")
    project.write_tasks(*(f"say {n}" for n in range(8)), name="own/tasks.txt")
    ids = [project.ids("--shard", f"{index}/2") for index in (1, 2)]
    assert sorted(len([each for each in part if each.startswith("shared/")]) for part in ids) == [0, 8]
    assert all(any(each.startswith("own/") for each in part) for part in ids)
    assert len(ids[0]) + len(ids[1]) == 16


def test_what_names_no_shard_is_refused(project):
    project.write_tasks("hello")
    result = project.capture("--shard", "auto")
    assert result.ret == 4
    result.stderr.fnmatch_lines(
        ["*--shard*no scheduler says which shard this is (AGENTCAP_SHARD, SLURM_ARRAY_TASK_ID*"]
    )
    assert not project.runs()
