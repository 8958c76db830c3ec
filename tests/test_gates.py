from __future__ import annotations

CHECK = "def grade(metadata, output):\n    return {'pass': metadata['good']}\n"
TASKS = [
    {"id": "good", "input": "python3 call a", "metadata": {"good": True}},
    {"id": "bad", "input": "python3 call b", "metadata": {"good": False}},
]


def run(project, *options: str):
    return project.pytest("--agent", "shell", "--sandbox", "host", "--grader=check.py", *options)


def test_gates_decide_instead_of_verdicts_and_rates_are_kept(project):
    project.write_shell_agent()
    project.write("check.py", CHECK)
    project.write_jsonl(*TASKS)
    done = run(project, "--trials", "2", "-n2", "--fail-under", "pass_rate=0.5", "--fail-under=pass@2=0.5")
    assert done.ret == 0
    done.assert_outcomes(passed=2, failed=2)
    done.stdout.fnmatch_lines(
        [
            "shell/scripted: pass rate 0.50 [[]0.* 0.*], 2 of 4 judged trials of 2 tasks",
            "  pass@k  0.50 0.50   pass^k  0.50 0.50   flakiness 0.00",
            "gate     pass_rate=0.5 is met by shell/scripted: 0.5",
            "gate     pass@2=0.5 is met by shell/scripted: 0.5",
        ]
    )
    [manifest] = project.manifests()
    rates = manifest["rates"]
    assert (rates["judged"], rates["passed"], rates["pass_at"]) == (4, 2, {"1": 0.5, "2": 0.5})
    assert [task["task_id"] for task in rates["tasks"]] == ["good", "bad"]
    assert rates["tasks"][0]["pass_rate"] == 1.0


def test_a_gate_that_is_not_met_fails_and_excuses_no_other_failure(project):
    project.write_shell_agent()
    project.write("check.py", CHECK)
    project.write_jsonl(*TASKS)
    project.write("test_own.py", "def test_own(agent_session, task):\n    assert agent_session.run(task).reply == ''\n")
    done = run(project, "prompts.jsonl", "-k", "good", "--fail-under", "calls=2")
    assert done.ret == 1
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["gate     calls=2 is not met by shell/scripted: 1"])

    done = run(project, "test_own.py", "-k", "good", "--fail-under", "pass_rate=0.5")
    assert done.ret == 1
    done.stdout.fnmatch_lines(["gate     pass_rate=0.5 is met by shell/scripted: 1"])


def test_a_gate_that_cannot_be_held_is_a_usage_error(project):
    project.write_tasks("hi")
    done = project.capture("--fail-under", "pass@3=0.5")
    assert done.ret == 4
    done.stderr.fnmatch_lines(["ERROR: --fail-under pass@3=0.5: needs --trials 3 or more"])
