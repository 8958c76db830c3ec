from __future__ import annotations

import pytest

from pytest_agentcap.matrix import Extent, agent_ids, extent, model_slugs

TASKS = [{"id": name, "input": f"Make {name}"} for name in "abcdefgh"]


def tasks_of(ids: list[str]) -> list[str]:
    return [nodeid.rpartition("[")[2].removeprefix("loop-scripted-").removesuffix("]") for nodeid in ids]


def test_agents_models_tasks_and_trials_multiply(project):
    project.write_shell_agent()
    project.write_jsonl(*TASKS[:2])
    ids = project.ids(
        "--agent", "agents/shell", "--model", "org/M", "--model", "m2", "--upstream", "http://u", "--trials", "2"
    )
    agents, models = ("loop", "shell"), ("M", "m2")
    assert sorted(ids) == sorted(
        f"prompts.jsonl::test_task[{agent}-{model}-{task}{trial}]"
        for agent in agents
        for model in models
        for task in "ab"
        for trial in ("", "-t2")
    )
    assert {nodeid.partition("[")[2][:4] for nodeid in ids[:8]} == {"loop"}


def test_every_cell_is_a_run_of_its_own(project):
    project.write_shell_agent()
    project.write_jsonl({"id": "a", "input": "true; python3 call"})
    options = ("--agent", "shell", "--model", "x/one", "--model", "two", "--trials", "2", "--upstream", "scripted")
    result = project.capture(*options, "-k", "not one-a-t2")
    result.assert_outcomes(passed=6)
    found = {(run["agent"], run["model"], tuple(task["trial"] for task in run["tasks"])) for run in project.manifests()}
    assert found == {
        (agent, model, (1, 2)[: 1 + (model == "two")]) for agent in ("loop", "shell") for model in ("x/one", "two")
    }
    assert {result["session"] for result in project.results()} == {"a", "a-t2"}


def test_limit_and_sample_choose_after_the_keywords_and_alike_in_all_workers(project):
    project.write_jsonl(*TASKS)
    project.write_jsonl({"id": "z", "input": "Make z"}, name="other/prompts.jsonl")
    assert tasks_of(project.ids("-k", "not scripted-a", "--limit", "2")) == ["z", "b", "c"]
    sample = ("--sample", "3", "--trials", "2", "prompts.jsonl")
    drawn = tasks_of(project.ids(*sample))
    assert drawn == sorted(drawn)
    assert [len([task for task in drawn if task.endswith("-t2")]), len(drawn)] == [3, 6]
    assert drawn != tasks_of(project.ids(*sample, "--seed", "1"))
    drawn = tasks_of(project.ids("--sample", "2", "-k", "not scripted-a"))
    project.capture("--sample", "2", "-k", "not scripted-a", "-n2").assert_outcomes(passed=3)
    assert sorted(result["session"] for result in project.results()) == sorted(drawn)


def test_a_test_beside_a_corpus_and_a_marked_one_get_its_tasks(project):
    project.write_jsonl(*TASKS[:2], name="words/prompts.jsonl")
    body = "def test_mine(agent_session, task): pass\ndef test_plain(agent_session): pass\n"
    project.write("words/test_beside.py", body)
    project.write(
        "elsewhere/test_marked.py",
        "import pytest\n@pytest.mark.corpus('../words')\ndef test_it(agent_session, task, trial): pass\n",
    )
    project.write("alone/test_lost.py", "def test_lost(agent_session, task): pass\n")
    result = project.pytest("--collect-only", "-q", "--agent", "loop", "--trials", "2")
    assert [line for line in result.outlines if "test_task" not in line and "::" in line and "ERROR" not in line] == [
        *(f"elsewhere/test_marked.py::test_it[loop-scripted-{id_}]" for id_ in ("a", "a-t2", "b", "b-t2")),
        *(f"words/test_beside.py::test_mine[loop-scripted-{id_}]" for id_ in ("a", "a-t2", "b", "b-t2")),
        *(f"words/test_beside.py::test_plain[loop-scripted{id_}]" for id_ in ("", "-t2")),
    ]
    assert result.ret == 2
    result.stdout.fnmatch_lines(["*alone: holds no corpus for the fixture 'task': add tasks.txt or mark the test"])


def test_a_fixture_named_agent_of_somebody_else_is_not_multiplied(project):
    project.write(
        "test_own.py",
        """
        import pytest

        @pytest.fixture
        def agent():
            return "Smith"

        def test_own(agent):
            assert agent == "Smith"
        """,
    )
    project.capture().assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("agents", "ids"),
    [
        (["pi", "loop"], ["pi", "loop"]),
        (["x/own/agent.toml", "./y/other/"], ["own", "other"]),
        (["a/own/agent.toml", "b/own/agent.toml", "pi"], ["own-1", "own-2", "pi"]),
    ],
)
def test_agents_given_by_path_are_called_after_their_folder(agents, ids):
    assert agent_ids(agents) == ids


@pytest.mark.parametrize(
    ("models", "slugs"),
    [
        (["org/Model-7B"], ["Model-7B"]),
        (["a/m:fast", "b/n"], ["m-fast", "n"]),
        (["a/m", "b/m"], ["a-m", "b-m"]),
        (["a/m", "a:m"], ["m", "a-m"]),
        (["y/x/m", "y:x/m"], ["y-x-m-1", "y-x-m-2"]),
        (["é"], ["x"]),
    ],
)
def test_models_are_called_after_what_tells_them_apart(models, slugs):
    assert model_slugs(models) == slugs


def test_how_much_is_about_to_run_is_read_from_node_ids():
    cells = [f"{agent}-{model}" for agent in ("pi", "my") for model in ("M-1", "m")]
    tests = [f"c/tasks.txt::test_task[{cell}-fix-a-t1me-0c{trial}]" for cell in cells for trial in ("", "-t2")]
    matrix = ("pi", "./my/agent.toml"), ("org/M-1", "m")
    assert extent(tests, *matrix, 2) == Extent(sessions=8, tasks=1)
    assert extent(tests, *matrix, 1) == Extent(sessions=8, tasks=2)
    assert extent([*tests[:3], "c/test_own.py::test_a[pi-m]", "c/test_own.py::test_b"], *matrix, 2) == Extent(4, 2)
