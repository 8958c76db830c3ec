"""A corpus whose tasks share one home, alone and under pytest-xdist."""

from __future__ import annotations

import pytest

SHARED = """
    import pytest

    @pytest.fixture
    def shared_home():
        return True
"""
SHELL = ("--agent", "shell", "--sandbox", "host")
TASK = "ls -A; python3 call {0} >/dev/null; touch in-{0}; mkdir -p d; touch d/f; chmod 0500 d; echo {0} >>~/m; cat ~/m"


def write(project) -> None:
    project.write_shell_agent()
    project.write("together/conftest.py", SHARED)
    tasks = [{"id": f"t{n}", "input": TASK.format(n)} for n in range(5)]
    project.write_jsonl(*tasks, name="together/prompts.jsonl")
    alone = [{"id": f"x{n}", "input": "python3 call x >/dev/null; sleep 0.5; cat ~/m; true"} for n in range(6)]
    project.write_jsonl(*alone, name="alone/prompts.jsonl")


def memories(project) -> dict[str, list[str]]:
    return {result["task_id"]: result["turns"][0]["reply"].split() for result in project.results()}


@pytest.mark.parametrize("workers", [(), ("-n3",), ("-n3", "--maxschedchunk=1"), ("-n2", "--dist=loadfile")])
def test_tasks_that_share_a_home_run_in_order_and_remember(project, workers):
    write(project)
    project.pytest(*SHELL, *workers).assert_outcomes(passed=11)
    found = memories(project)
    # Each workspace holds the agent's own file alone.
    assert [found[f"t{n}"] for n in range(5)] == [["call", *map(str, range(n + 1))] for n in range(5)]
    assert [found[f"x{n}"] for n in range(6)] == [[]] * 6
    assert not list(project.path.glob(".agentcap/*/captures/*.journal"))


def test_a_selection_keeps_its_order_and_trials_have_homes_of_their_own(project):
    write(project)
    project.pytest(*SHELL, "-n2", "--trials=2", "-k", "t1 or t3").assert_outcomes(passed=4)
    replies = {result["session"]: result["turns"][0]["reply"].split()[1:] for result in project.results()}
    assert replies == {"t1": ["1"], "t1-t2": ["1"], "t3": ["1", "3"], "t3-t2": ["1", "3"]}


def test_a_way_to_distribute_that_tears_them_apart_is_named(project):
    write(project)
    result = project.pytest(*SHELL, "-n3", "--dist=loadgroup", "together")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*infra: the tasks of this corpus share one home, and another worker has it*"])
    assert {kept["verdict"] for kept in project.results()} == {"captured", "infra"}


def test_logs_and_session_names_of_tasks_in_one_home_are_told_apart(project):
    project.write_shell_agent()
    text = (
        (project.path / "agents/shell/agent.toml")
        .read_text()
        .replace('id = "chosen"', 'id = "file"\npath = "{{home}}/talks/*.jsonl"')
    )
    project.write("agents/shell/agent.toml", text + '[trace]\npaths = ["{{home}}/talks/*.jsonl"]\n')
    project.write("conftest.py", SHARED)
    talk = "mkdir -p ~/talks; echo {0} > ~/talks/{0}.jsonl; python3 call {0} > /dev/null"
    project.write_jsonl(*({"id": name, "input": talk.format(name)} for name in ("z", "a")))
    project.pytest(*SHELL).assert_outcomes(passed=2)
    assert {result["task_id"]: result["session_id"] for result in project.results()} == {"z": "z", "a": "a"}
    [run] = project.runs()
    traces = sorted(path.relative_to(run / "traces").as_posix() for path in run.glob("traces/*/*"))
    assert traces == ["a/a.jsonl", "z/z.jsonl"]
