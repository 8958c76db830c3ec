from __future__ import annotations

import pyarrow.parquet as pq

from pytest_agentcap.cli import main


def test_a_failed_parquet_is_exit_status_1_and_names_the_command_that_repeats_it(project):
    project.write(
        "test_own.py",
        """
        def test_own(agent_session, capture_run):
            agent_session.run("Say hello").check()
            (capture_run.parquet / "in the way").mkdir(parents=True)
        """,
    )
    result = project.capture()
    assert result.ret == 1
    result.assert_outcomes(passed=1)
    [run] = project.runs()
    result.stdout.fnmatch_lines(
        [
            "loop   scripted      1         1      1 *1 captured",
            "parquet  none*",
            f"ERROR    {run.name}: *",
            f"*the captures are kept; try again with: *agentcap export *{run.name}",
        ]
    )
    assert not list(run.glob(".captures*"))
    (run / "captures.parquet/in the way").rmdir()
    (run / "captures.parquet").rmdir()
    assert main(["export", str(run)]) == 0
    assert pq.read_table(run / "captures.parquet").num_rows == 1


def test_the_manifest_is_up_to_date_while_the_session_goes_on(project):
    project.write(
        "test_own.py",
        """
        import json

        def test_first(agent_session):
            agent_session.run("Say hello").check()

        def test_second(agent_session, capture_run):
            manifest = json.loads(capture_run.manifest.read_bytes())
            assert [task["verdict"] for task in manifest["tasks"]] == ["captured"]
            assert manifest["agent"] == "loop" and manifest["turns_per_task"] == 1
        """,
    )
    result = project.capture()
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["agentcap: 2 sessions = 2 tasks × 1 agent × 1 model × 1 trial, 1 turn each"])


def test_a_session_that_runs_no_agent_leaves_no_run_behind(project):
    project.write("test_own.py", "def test_own(): pass\n")
    result = project.capture()
    assert result.ret == 0
    assert project.runs() == []
    result.stdout.no_fnmatch_line("*= agentcap =*")
    project.write_tasks("say hello")
    assert project.capture("-k", "nothing").ret == 5
    assert project.runs() == []
