"""What agents leave behind, read by whole sessions on the host sandbox."""

from __future__ import annotations

AGENT = """
name = "shell"
version = "1"
api = "chat"
executable = "sh"

[command]
first = ["sh", "{{prompt_file}}"]
next = ["sh", "{{prompt_file}}", "{{session}}"]
prompt = "file"

[session]
id = "file"
path = "{{home}}/talks/*.jsonl"

[reply]
file = "{{home}}/said.txt"

[trace]
paths = ["{{home}}/talks/*.jsonl", "{{home}}/more"]
export = ["sh", "-c", "EXPORT", "export", "{{session}}"]

[[files]]
template = "call.py"
path = "{{workspace}}/call.py"
"""
FIRST = """
    python3 call.py hi; mkdir -p ~/talks ~/more/deep
    echo '{}' > ~/talks/t-1.jsonl; echo deep > ~/more/deep/d; echo ok > ~/said.txt
"""


def write(project, export="echo log of $1") -> None:
    project.write_shell_agent()
    project.write("agents/shell/agent.toml", AGENT.replace("EXPORT", export))


def test_reply_session_and_trace_are_read_from_files(project):
    write(project)
    project.write_jsonl({"id": "a", "input": [FIRST, "echo $1 > ~/said.txt; python3 call.py again"]})
    result = project.pytest("--agent", "shell", "--sandbox", "host")
    result.assert_outcomes(passed=1)
    [kept] = project.results()
    assert kept["session_id"] == "t-1"
    assert [turn["reply"] for turn in kept["turns"]] == ["ok", "t-1"]
    [run] = project.runs()
    traces = {path.relative_to(run / "traces/a").as_posix(): path.read_text() for path in run.glob("traces/a/**/*.*")}
    assert traces == {"t-1.jsonl": "{}\n", "session.json": "log of t-1\n"}
    assert (run / "traces/a/more/deep/d").read_text() == "deep\n"


def test_a_turn_that_failed_has_its_trace_too(project):
    write(project)
    project.write_jsonl({"id": "a", "input": f"{FIRST}; exit 3"})
    project.pytest("--agent", "shell", "--sandbox", "host").assert_outcomes(failed=1)
    [run] = project.runs()
    assert (run / "traces/a/t-1.jsonl").read_text() == "{}\n"


def test_a_turn_that_took_too_long_has_its_trace_too(project):
    write(project)
    project.write_jsonl({"id": "a", "input": [FIRST, "echo {} >> ~/talks/t-1.jsonl; sleep 600"], "timeout": 4000})
    project.pytest("--agent", "shell", "--sandbox", "host").assert_outcomes(failed=1)
    [kept] = project.results()
    assert (kept["verdict"], kept["abort_reason"]) == ("agent_timeout", "follow-up-turn-timeout")
    [run] = project.runs()
    assert (run / "traces/a/t-1.jsonl").read_text() == "{}\n{}\n"
    assert (run / "traces/a/session.json").read_text() == "log of t-1\n"


def test_an_export_that_fails_is_a_note_and_no_file(project):
    write(project, "echo half; echo no such session >&2; exit 4")
    project.write_jsonl({"id": "a", "input": FIRST})
    project.pytest("--agent", "shell", "--sandbox", "host").assert_outcomes(passed=1)
    [kept] = project.results()
    assert "no trace: sh ended with 4: no such session" in kept["notes"]
    [run] = project.runs()
    assert not (run / "traces/a/session.json").exists()


def test_without_any_log_there_is_no_folder(project):
    write(project, "exit 1")
    project.write_jsonl({"id": "a", "input": "python3 call.py hi"})
    project.pytest("--agent", "shell", "--sandbox", "host").assert_outcomes(passed=1)
    [run] = project.runs()
    assert not (run / "traces/a").exists()


def test_an_agent_that_cannot_go_on_says_so(project):
    write(project)
    definition = (project.path / "agents/shell/agent.toml").read_text()
    definition = definition.replace('next = ["sh", "{{prompt_file}}", "{{session}}"]', "next = []")
    definition = definition.replace('id = "file"\npath = "{{home}}/talks/*.jsonl"', 'id = "none"')
    project.write("agents/shell/agent.toml", definition)
    project.write_jsonl({"id": "a", "input": [FIRST, "never"]})
    project.pytest("--agent", "shell", "--sandbox", "host")
    [kept] = project.results()
    assert kept["abort_reason"] == "resume-not-supported"
    assert len(kept["turns"]) == 1
