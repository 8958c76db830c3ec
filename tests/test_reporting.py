from __future__ import annotations

import xml.etree.ElementTree as ET

from pytest_agentcap.finishing import FinishedRun
from pytest_agentcap.reporting import summary_table

OWN = """
    def test_own(agent_session, record_property):
        record_property("own", 7)
        agent_session.run("python3 call own")
        assert False
"""


def test_what_a_session_shows_and_writes_into_junit(project):
    project.write_shell_agent()
    project.write_jsonl(
        {"id": "good", "input": ["python3 call hello world", "python3 call again"]},
        {"id": "bad", "input": "exit 1"},
    )
    project.write("test_own.py", OWN)
    options = ("--agent", "shell", "--sandbox", "host", "--trials", "2", "-k", "not (test_own and t2) and not bad-t2")
    result = project.pytest(*options, "-n2", "--junitxml=report.xml")
    assert result.ret == 1
    result.assert_outcomes(passed=2, failed=2)
    [run] = project.runs()
    result.stdout.fnmatch_lines(
        [
            "agentcap: shell 1 -> *scripted*",
            "agentcap: sandbox host: agents run on this machine*no isolation",
            "agentcap: 4 sessions of 3 tasks, 1 agent, 1 model, 2 trials, 1 turn each",
            "*= agentcap =*",
            "agent  model     tasks  sessions  calls  tokens in  tokens out  verdicts",
            "shell  scripted      3         4      5 *  3 captured, 1 agent_error",
            f"run      *{run.name}",
            f"parquet  *{run.name}/captures.parquet",
            f"look at it with: *agentcap show *{run.name}",
        ]
    )
    result.stdout.fnmatch_lines(["*assert False", "*- agentcap -*", "captured", "*chat*200*", "captures: */captures"])
    cases = {case.get("name"): case for case in ET.parse(project.path / "report.xml").iter("testcase")}
    properties = {
        name: {each.get("name"): each.get("value") for each in case.iter("property")} for name, case in cases.items()
    }
    [good] = [each for each in project.results() if each["session"] == "good-t2"]
    assert good["prompt_tokens"] > good["completion_tokens"] > 0
    assert properties["test_task[shell-scripted-good-t2]"] == {
        "run_id": run.name,
        "agent": "shell",
        "model": "scripted",
        "task": "good",
        "trial": "2",
        "attempt": "1",
        "turns": "2",
        "calls": "2",
        "prompt_tokens": str(good["prompt_tokens"]),
        "completion_tokens": str(good["completion_tokens"]),
        "verdict": "captured",
        "captures": str(run / "captures"),
    }
    bad = properties["test_task[shell-scripted-bad]"]
    assert (bad["verdict"], bad["calls"], "prompt_tokens" in bad) == ("agent_error", "0", False)
    own = properties["test_own[shell-scripted]"]
    assert (own["own"], own["verdict"], own["task"]) == ("7", "captured", "test_own")
    assert all(len(list(case.iter("property"))) == len(properties[name]) for name, case in cases.items())


def finished(tmp_path, **told: object) -> FinishedRun:
    from pytest_agentcap.runs.layout import RunDirectory

    result = {"agent": "pi", "model": "m", "corpus": "c", "task_id": "a", "calls": 2, "verdict": "captured"}
    tokens = {"prompt_tokens": None, "completion_tokens": None}
    done = FinishedRun(RunDirectory(tmp_path))
    each = ({**told}, {}, {"verdict": "infra"})
    done.results = [{**result, **tokens, **one, "nodeid": f"n{number}"} for number, one in enumerate(each)]
    return done


def test_the_table_counts_tasks_once_and_leaves_untold_tokens_out(tmp_path):
    [head, row] = summary_table([finished(tmp_path, prompt_tokens=5)])
    assert head.split("  ")[0] == "agent"
    assert row.split() == ["pi", "m", "1", "3", "6", "5", "-", "2", "captured,", "1", "infra"]


def test_cost_and_waiting_have_columns_where_there_was_some_and_an_unknown_cost_is_told(tmp_path):
    [head, row] = summary_table([finished(tmp_path, cost_usd=0.25, waited_s=2.5)])
    assert head.split()[-3:] == ["cost", "waited", "verdicts"]
    assert "$0.2500 + unknown   2.5 s  2 captured" in row


def test_an_earlier_attempt_is_not_counted(tmp_path):
    done = finished(tmp_path)
    done.results[2] |= {"nodeid": "n1", "attempt": 2, "verdict": "failed"}
    assert summary_table([done])[1].split()[3:] == ["2", "4", "-", "-", "1", "captured,", "1", "failed"]


def test_an_ended_pytest_run_leaves_the_users_folder_alone_but_for_the_run(project):
    project.write_tasks("say hello")
    project.capture("-p", "no:cacheprovider").assert_outcomes(passed=1)
    pytesters = ("runpytest-", "stdout", "stderr")
    left = sorted(path.name for path in project.path.iterdir() if not path.name.startswith(pytesters))
    assert left == [".agentcap", "tasks.txt"]
    assert (project.path / ".agentcap/.gitignore").read_text() == "*\n"
    [run] = project.runs()
    assert sorted(path.name for path in run.iterdir()) == [
        "captures",
        "captures.parquet",
        "plan.json",
        "results",
        "run.json",
        "sessions",
        "traces",
        "workspaces",
    ]
