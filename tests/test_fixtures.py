from __future__ import annotations

import pyarrow.parquet as pq

ASKED = {"id": "greet", "input": "Write greeting.txt", "reference": "cat name.txt > greeting.txt\n\nls"}

OVERRIDES = """
    import pytest

    @pytest.fixture
    def workspace_source(tmp_path):
        source = tmp_path / "source"
        source.mkdir()
        (source / "name.txt").write_text("Ada")
        return source

    @pytest.fixture
    def turns():
        return 3

    @pytest.fixture
    def followup():
        class Again:
            def prompt(self, turn):
                return f"Once more, number {turn}"
        return Again()

    @pytest.fixture
    def grader(request):
        return request.path.with_name("check.py")
"""
CHECK = """
    from pathlib import Path

    def grade(input, output, *, cwd, **_):
        return {"pass": (Path(cwd) / "greeting.txt").read_text() == "Ada"}
"""
USER_TESTS = """
    from pathlib import Path

    def test_turn_by_turn(agent_session, task, capture_run, model, trial):
        first = agent_session.run(task.prompt)
        assert first.verdict == "captured"
        assert first.reply == "There is no reference for this prompt: Write greeting.txt"
        outcome = agent_session.run("And now in capitals")
        assert [turn.prompt for turn in outcome.turns] == ["Write greeting.txt", "And now in capitals"]
        assert [turn.returncode for turn in outcome.turns] == [0, 0]
        assert [call.turn for call in outcome.calls] == [1, 2]
        assert {call.api for call in outcome.calls} == {"chat"}
        assert [path.name for path in outcome.workspace.iterdir()] == ["name.txt"]
        assert outcome.run == capture_run
        assert (model, trial) == ("scripted", 1)
        outcome.check()

    def test_whole_task(agent_session, task):
        outcome = agent_session.run(task)
        assert outcome.verdict == "passed"
        assert (outcome.workspace / "greeting.txt").read_text() == "Ada"
        assert len(outcome.calls) == 5
"""


def test_a_corpus_overrides_fixtures_and_a_test_beside_it_makes_its_own_assertions(project):
    project.write_jsonl(ASKED, name="greetings/prompts.jsonl")
    project.write("greetings/conftest.py", OVERRIDES)
    project.write("greetings/check.py", CHECK)
    project.write("greetings/test_own.py", USER_TESTS)
    project.write_jsonl({"id": "plain", "input": "Say nothing"}, name="plain/prompts.jsonl")
    project.capture("-n2").assert_outcomes(passed=4)
    results = {result["nodeid"].partition("[")[0]: result for result in project.results()}
    shipped = results["greetings/prompts.jsonl::test_task"]
    assert [turn["prompt"] for turn in shipped["turns"]] == [
        "Write greeting.txt",
        "Once more, number 2",
        "Once more, number 3",
    ]
    assert (shipped["verdict"], shipped["graders"][0]["name"]) == ("passed", "check")
    plain = results["plain/prompts.jsonl::test_task"]
    assert (plain["verdict"], len(plain["turns"])) == ("captured", 1)
    assert len({result["session"] for result in results.values()}) == 4
    [run] = project.runs()
    assert pq.read_table(run / "captures.parquet").num_rows == sum(result["calls"] for result in results.values())
    assert not list(run.glob("captures/*.journal"))


def test_a_test_without_a_corpus_runs_prompts_and_is_skipped_without_an_agent(project):
    project.write(
        "test_alone.py",
        """
        def test_alone(agent_session):
            outcome = agent_session.run("Say hello")
            assert outcome.reply.startswith("There is no reference")
            outcome.check()

        def test_idle(agent_session):
            assert agent_session.turns == () and agent_session.outcome().verdict == "no_calls"

        def test_corpus(agent_session, task):
            pass
        """,
    )
    project.write_tasks("say hello")
    result = project.pytest("-rs")
    assert result.ret == 0
    result.assert_outcomes(skipped=3)
    result.stdout.fnmatch_lines(["SKIPPED*: an agent is needed: pass --agent NAME"])
    project.capture("test_alone.py::test_alone", "test_alone.py::test_idle").assert_outcomes(passed=2)
    alone, idle = project.results()
    assert (alone["task_id"], alone["verdict"], alone["calls"]) == ("test_alone", "captured", 1)
    assert (idle["task_id"], idle["verdict"], idle["calls"]) == ("test_idle", "no_calls", 0)


def test_a_grader_that_is_not_there_is_one_line(project):
    project.write_tasks("say hello")
    result = project.capture("--grader", "missing.py")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: agentcap: --grader: grader */missing.py: No such file or directory; name *"])
    assert "Traceback" not in result.stderr.str()
    assert project.runs() == []


ENDING = """
    from pytest_agentcap.distributed import ASSIGNMENT

    def test_first(pytestconfig):
        pytestconfig.stash[ASSIGNMENT].state.announce_end()

    def test_second(agent_session):
        raise AssertionError
"""


def test_no_session_begins_while_the_controller_ends(project):
    project.write("test_own.py", ENDING)
    done = project.capture("-rs")
    done.assert_outcomes(passed=1, skipped=1)
    done.stdout.fnmatch_lines(["*not started: the pytest process that it would run for is ending"])
    assert project.results() == []
