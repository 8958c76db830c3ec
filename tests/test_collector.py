from __future__ import annotations

import os

SAY, LIST = "say-hello-b00376", "list-the-files-31b691"


def test_a_text_file_and_jsonl_become_tests_with_stable_ids(project):
    project.write_tasks("say hello", "list the files", name="words/tasks.txt")
    project.write_jsonl({"id": "make-a", "input": "Make a"}, name="json/prompts.jsonl")
    project.write_jsonl({"id": "b", "input": "Make b"}, name="json/more.corpus.jsonl")
    ids = project.ids()
    assert sorted(ids) == [
        "json/more.corpus.jsonl::test_task[loop-scripted-b]",
        "json/prompts.jsonl::test_task[loop-scripted-make-a]",
        f"words/tasks.txt::test_task[loop-scripted-{LIST}]",
        f"words/tasks.txt::test_task[loop-scripted-{SAY}]",
    ]
    project.write_tasks("# first", "something new", "", "say hello", "list the files", name="words/tasks.txt")
    assert set(ids) < set(project.ids())


def test_a_file_of_another_name_is_a_corpus_only_where_it_is_named(project):
    project.write_tasks("say hello", name="notes.txt")
    project.write_jsonl({"id": "a", "input": "Make a"}, name="data.jsonl")
    project.write_tasks("say hello")
    assert project.ids() == [f"tasks.txt::test_task[loop-scripted-{SAY}]"]
    assert project.ids("notes.txt", "data.jsonl") == [
        f"notes.txt::test_task[loop-scripted-{SAY}]",
        "data.jsonl::test_task[loop-scripted-a]",
    ]


def test_collecting_needs_neither_an_installed_agent_nor_a_network(project, monkeypatch):
    project.write_tasks("say hello")
    monkeypatch.setenv("PATH", str(project.path / "empty"))
    agents = ("--agent", "pi", "--agent", "opencode", "--model", "org/M", "--upstream", "http://127.0.0.1:1")
    result = project.pytest("--collect-only", "-q", *agents)
    assert result.ret == 0
    result.stdout.fnmatch_lines([f"tasks.txt::test_task[[]pi-M-{SAY}]", f"tasks.txt::test_task[[]opencode-M-{SAY}]"])
    assert not (project.path / ".agentcap").exists()


def test_prompts_with_doctest_prompts_are_no_doctests(project):
    project.write_tasks("what does >>> 1 + 1 print", name="notes.text/tasks.txt")
    project.write("readme.txt", ">>> 1 + 1\n2\n")
    project.write_tasks("and >>> 2 + 2", name="words/tasks.txt")
    assert len(project.ids("notes.text/tasks.txt")) == 1
    result = project.pytest("--agent", "loop", "--collect-only", "-q", "--doctest-glob=*.txt")
    result.stdout.fnmatch_lines(["words/tasks.txt::test_task[[]loop-scripted-and-2-2-*]", "readme.txt::readme.txt"])
    assert len([line for line in result.outlines if "::" in line]) == 3


def test_selection_by_keyword_node_id_and_last_failure_works_with_importlib_too(project):
    project.write_shell_agent()
    project.write_jsonl(
        {"id": "good", "input": "python3 call hi"},
        {"id": "bad", "input": "python3 call hi; exit 3"},
        {"id": "worse", "input": "exit 4"},
    )
    agent = ("--agent", "shell", "--sandbox", "host", "-q", "--import-mode=importlib")
    project.pytest(*agent, "-n2", "-k", "not worse").assert_outcomes(passed=1, failed=1)
    result = project.pytest(*agent, "--lf", "-vv")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["prompts.jsonl::test_task[[]shell-scripted-bad] FAILED*"])
    project.pytest(*agent, "prompts.jsonl::test_task[shell-scripted-good]").assert_outcomes(passed=1)
    assert [result["session"] for result in project.results()] == ["bad", "good", "bad", "good"]


def test_maxfail_stops_and_worksteal_shares(project):
    project.write_shell_agent()
    project.write_jsonl(*({"id": f"t{n}", "input": "exit 1"} for n in range(4)))
    agent = ("--agent", "shell", "--sandbox", "host", "-q")
    result = project.pytest(*agent, "--maxfail=2")
    assert result.ret == 1
    assert len(project.results()) == 2
    result = project.pytest(*agent, "-n2", "--dist=worksteal")
    assert result.ret == 1
    result.assert_outcomes(failed=4)


def test_a_corpus_that_cannot_be_read_is_an_error_with_file_and_line(project):
    project.write_tasks("# nothing", "", name="empty/tasks.txt")
    project.write("broken/prompts.jsonl", '{"input": "a"}\n{"input"\n')
    project.write("twice/prompts.jsonl", '{"id": "a", "input": "a"}\n\n{"id": "A", "input": "b"}\n')
    (project.path / "latin").mkdir()
    (project.path / "latin/tasks.txt").write_bytes(b"fine\ncaf\xe9\n")
    result = project.capture()
    assert result.ret == 2
    result.assert_outcomes(errors=4)
    result.stdout.fnmatch_lines(
        [
            "broken/prompts.jsonl:2: not valid JSON*write one JSON object a line",
            "empty/tasks.txt:1: the corpus holds no task; add at least one",
            "latin/tasks.txt:2: not UTF-8*save the file as UTF-8",
            "twice/prompts.jsonl:3: the id 'A' is used twice, first on line 1*give each task its own id",
        ]
    )
    assert project.runs() == []
    assert "Traceback" not in result.stdout.str()


def test_a_prompt_that_is_too_long_for_an_argument_is_an_error_with_file_and_line(project):
    words = '["sh", "-c", "true", "--", "{{prompt}}"]'
    tail = 'prompt = "argument"\n[session]\nid = "chosen"\n'
    head = 'name = "own"\nversion = "1"\napi = "chat"\nexecutable = "sh"\n'
    project.write("agents/own/agent.toml", f"{head}[command]\nfirst = {words}\nnext = {words}\n{tail}")
    project.write_jsonl({"id": "a", "input": "é" * 65_535}, {"id": "b", "input": ["short", "x" + "é" * 65_536]})
    project.write("test_own.py", "def test_own(agent_session, task): pass")
    result = project.pytest("--agent", "own", "--collect-only")
    assert result.ret == 2
    line = (
        "prompts.jsonl:2: the prompt has 131073 bytes, more than the 131071 that own can be given as an argument; "
        "put the material into the workspace instead"
    )
    result.stdout.fnmatch_lines(["*ERROR collecting prompts.jsonl*", line, "*ERROR collecting test_own.py*", line])
    assert len(project.ids("prompts.jsonl")) == 2


def test_one_broken_corpus_in_two_workers_is_an_error_too(project):
    project.write("prompts.jsonl", '{"input"\n')
    result = project.capture("-n2")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["prompts.jsonl:1: not valid JSON*"])
    assert project.runs() == []


def test_without_an_agent_a_corpus_is_left_alone_and_named_ones_get_a_hint(project):
    project.write_tasks("say hello", name="tests/data/tasks.txt")
    project.write("tests/test_own.py", "def test_own(): pass\n")
    result = project.pytest()
    assert result.ret == 0
    assert "agentcap:" not in result.stdout.str()
    for argument in ("tests/data", f"tests{os.sep}data{os.sep}tasks.txt"):
        result = project.pytest(argument)
        assert result.ret == 5
        result.stdout.fnmatch_lines([f"agentcap: {argument} is a corpus: pass --agent NAME to run it"])
    assert not (project.path / ".agentcap").exists()
