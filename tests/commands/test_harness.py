"""`agentcap capture`, `trials` and `run` as agent-eval-harness has them: pytest runs underneath, rows come out."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import psutil
import pytest

from pytest_agentcap.cli import main
from pytest_agentcap.commands.harness import _told_by
from pytest_agentcap.commands.raw import shell_script
from pytest_agentcap.commands.rows import open_rows, write_output
from pytest_agentcap.schemas import schema_of

# Answers with its prompt; counts the trials of a prompt in the user's home, which it has.
AGENT = """
    import json, os, sys
    prompt = sys.argv[-1]
    print("a notice", flush=True)
    print(json.dumps({"type": "tool", "name": "Read", "status": "completed"}), flush=True)
    open("left.txt", "w").write(prompt)
    if prompt.startswith("crash"):
        sys.exit(3)
    if prompt.startswith("wait"):
        import time
        time.sleep(600)
    if prompt.startswith("flaky"):
        path = os.path.join(os.environ["HOME"], "count")
        n = len(open(path).read()) if os.path.exists(path) else 0
        open(path, "a").write("x")
        prompt = "good" if n % 3 else "bad"
    print(json.dumps({"type": "say", "text": "saying " + prompt}), flush=True)
    print(json.dumps({"type": "result", "result": prompt, "key": os.environ.get("OWN_KEY")}))
"""
SCHEMA = {
    "version": 1, "name": "echo", "command": [sys.executable, "agent.py"], "sessionMode": "iterative",
    "prompt": {"flag": "-p"}, "output": {"flag": "", "value": ""},
    "outputEvents": [
        {"match": {"path": "$.type", "value": "say"}, "emitAs": "message", "extract": {"content": "$.text"}},
        {"match": {"path": "$.type", "value": "tool"}, "emitAs": "tool_call",
         "extract": {"title": "$.name", "status": "$.status"}},
    ],
    "result": {"matchPath": "$.type", "matchValue": "result", "contentPath": "$.result"},
}  # fmt: skip
GRADER = """
    def grade(output, hint):
        return {"pass": bool(hint) and hint in output, "score": float(bool(hint) and hint in output)}
"""


@pytest.fixture
def adapter(project, monkeypatch):
    """A project with an adapter, its schema and a grader, in which commands are run."""
    project.write("agent.py", AGENT)
    project.write("a.json", json.dumps(SCHEMA))
    project.write("g.py", GRADER)
    monkeypatch.chdir(project.path)
    monkeypatch.setenv("HOME", str(project.path))
    return project


def rows(text: str, kind: str | None = None) -> list[dict]:
    told = [json.loads(line) for line in text.splitlines()]
    for row in told if kind else ():
        jsonschema.Draft202012Validator(schema_of(kind)).validate(row)
    return told


def test_prompts_become_rows_of_the_original_in_their_order(adapter, capsys):
    adapter.write_jsonl(
        {"id": "a/b:c", "input": "say it", "hint": "it", "metadata": {"category": "x"}, "tags": ["t"]},
        {"id": "crash", "input": "crash now"},
        {"id": "two", "input": ["one", "two"], "expected": "three"},
    )
    Path("r.jsonl").write_text("old")
    command = ["capture", "prompts.jsonl", "-s", "a.json", "-g", "g.py", "--workspace-dir", "ws", "-o", "r.jsonl"]
    assert main([*command, "--progress"]) == 0
    first, crashed, two = rows(Path("r.jsonl").read_text(), "CaptureResult")
    assert list(first) == [
        "id", "input", "output", "hint", "trajectory", "metadata", "timing", "toolErrors", "score",
    ]  # fmt: skip
    assert (first["id"], first["output"], first["score"]) == ("a/b:c", "say it", {"pass": True, "score": 1.0})
    assert [step.get("name") or step["content"] for step in first["trajectory"]] == ["Read", "saying say it"]
    assert first["metadata"] == {
        "category": "x", "agent": "echo", "trajectoryRichness": "full", "turnCount": 1, "exitCode": 0,
        "timedOut": False, "workspaceDir": str(adapter.path / "ws" / "prompt-a_b_c"),
    }  # fmt: skip
    assert first["timing"]["firstResponse"] == first["trajectory"][0]["timestamp"] <= first["timing"]["total"]
    assert Path("ws/prompt-a_b_c/left.txt").read_text() == "say it"
    assert (crashed["verdict"], "score" in crashed, crashed["metadata"]["exitCode"]) == ("agent_error", False, 3)
    assert (two["input"], two["hint"], two["score"]["pass"]) == (["one", "two"], "three", False)
    assert two["output"] == "User: one\nAssistant: one\n\nUser: two"
    told = capsys.readouterr().err
    assert "prompts.jsonl:1: keys that nobody reads: tags" in told
    assert "the key `expected` is deprecated" in told
    assert "[3/3] two: failed" in told
    (run,) = adapter.runs()
    assert len(list(run.glob("results/*.json"))) == 3


def test_trials_of_a_task_are_one_row_with_its_estimates(adapter, capsys):
    adapter.write_jsonl({"id": "f", "input": "flaky", "hint": "good"})
    Path("t.jsonl").write_text('{"id": "old"}')
    command = ["trials", "prompts.jsonl", "-s", "a.json", "-k", "3", "-g", "g.py", "--append", "-o", "t.jsonl"]
    assert main([*command, "--full"]) == 0
    old, row = rows(Path("t.jsonl").read_text())
    assert old == {"id": "old"}
    jsonschema.Draft202012Validator(schema_of("TrialResult")).validate(row)
    assert [trial["pass"] for trial in row["trials"]] == [False, True, True]
    p = 2 / 3
    assert (row["k"], row["passRate"]) == (3, pytest.approx(p))
    assert (row["passAtK"], row["passExpK"]) == (pytest.approx(1 - (1 - p) ** 3), pytest.approx(p**3))
    assert row["estimates"]["passAt"] == {"1": pytest.approx(p), "2": 1.0, "3": 1.0}
    assert row["trials"][0]["origin"]["run"] == adapter.runs()[0].name


def test_the_four_stages_pipe(adapter, monkeypatch):
    corpus = [{"id": "a", "input": 'say "it", $& and\n$(it)', "hint": "it"}, {"id": "b", "input": "no", "hint": "yes"}]
    adapter.write_jsonl(*corpus)
    monkeypatch.setenv("OWN_KEY", "mine")
    agentcap = f"'{sys.executable}' -c 'import sys; from pytest_agentcap.cli import main; sys.exit(main())'"
    stages = ("run -s a.json", "extract -s a.json", "grade -g g.py", "format --style csv")
    command = "cat prompts.jsonl" + "".join(f" | {agentcap} {stage} | tee {stage.split()[0]}.out" for stage in stages)
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    table = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [(row["id"], row["output"], row["pass"]) for row in table] == [
        ("a", 'say "it", $& and\\n$(it)', "true"), ("b", "no", "false"),
    ]  # fmt: skip
    raw = rows(Path("run.out").read_text(), "RawOutput")[0]
    # Every line, those that are no event of the schema too.
    assert raw["rawLines"][0] == "a notice"
    assert json.loads(raw["rawLines"][-1]) == {"type": "result", "result": corpus[0]["input"], "key": "mine"}
    assert len(raw["arrivals"]) == len(raw["rawLines"])
    steps = rows(Path("extract.out").read_text(), "ExtractedResult")[0]["trajectory"]
    rows(Path("grade.out").read_text(), "GradedResult")
    assert [step["timestamp"] for step in steps] == raw["arrivals"][1:3]
    main(["format", "grade.out", "-f", "markdown", "-o", "report.md"])
    assert "- **Pass rate**: 1/2 (50.0%)" in Path("report.md").read_text()


@pytest.mark.parametrize(("flag", "command"), [("--simple", "echo {} | tr a-z A-Z"), ("--shell", 'echo "${PROMPT}"')])
def test_a_shell_has_the_prompt_as_a_parameter(flag, command, tmp_path):
    script = tmp_path / "command.sh"
    script.write_text(shell_script(*(command if flag == each else None for each in ("--simple", "--shell"))))
    prompt = "it's $& `id` $(id) {}"
    done = subprocess.run(["sh", str(script), prompt], capture_output=True, text=True)
    assert done.stdout.strip() == (prompt.upper() if flag == "--simple" else prompt)


def test_a_shell_command_is_graded_by_what_it_prints_and_its_failure_is_an_error(adapter, capsys):
    adapter.write_jsonl({"id": "a", "input": ["hello", "there"], "hint": "HELLO"}, {"id": "b", "input": "fail"})
    Path("r.jsonl").write_text('{"id": "old"}')
    command = 'echo "$PROMPT" | tr a-z A-Z; case $PROMPT in fail) echo why >&2; exit 3;; esac'
    words = ["-t", "60000", "-j", "2", "-g", "g.py", "-g", "regex:THERE", "--append", "-o", "r.jsonl", "--debug"]
    assert main(["run", "prompts.jsonl", "--shell", command, *words]) == 0
    old, *told = rows(Path("r.jsonl").read_text())
    assert old == {"id": "old"}
    first, second = sorted(told, key=lambda row: row["id"])
    jsonschema.Draft202012Validator(schema_of("RawOutput")).validate(first)
    assert first["rawLines"] == ["HELLO", "USER: HELLO", "ASSISTANT: HELLO", "USER: THERE"]
    assert [(each["name"], each["pass"]) for each in first["graders"]] == [("g", True), ("regex", True)]
    assert (first["score"], "error" in first) == ({"pass": True, "score": 1.0, **reasons(first)}, False)
    assert (second["rawLines"], second["error"]) == (["FAIL"], "agent_error: turn 1 ended with exit code 3: why")
    assert ("score" in second, second["verdict"]) == (False, "agent_error")


def reasons(row: dict) -> dict:
    return {"reasoning": f"regex: {row['graders'][1]['reasoning']}"}


def test_a_grade_stays_with_what_a_program_printed(adapter, capsys):
    timing = {"timing": {"start": 0, "end": 1, "total": 1}}
    graded = {"score": {"pass": True, "score": 0.5}, "outcome": {"n": 1}}
    broken = {"verdict": "grader_error", "reason": "why"}
    raw = [{"id": name, "input": "q", "rawLines": ["{}"], **timing, **more} for name, more in
           (("a", graded), ("b", broken), ("c", {}))]  # fmt: skip
    adapter.write_jsonl(*raw, name="raw.jsonl")
    assert main(["extract", "raw.jsonl", "-s", "a.json", "-o", "e.jsonl"]) == 0
    told = rows(Path("e.jsonl").read_text(), "ExtractedResult")
    parts = ("score", "outcome", "verdict", "reason")
    assert [{key: row[key] for key in parts if key in row} for row in told] == [graded, broken, {}]
    assert main(["format", "e.jsonl", "-f", "markdown"]) == 0
    assert "- **Pass rate**: 1/1 (100.0%)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["capture", "prompts.jsonl", "-s", "none.json"], "none.json: there is no such file"),
        (["capture", "prompts.jsonl", "-s", "broken.json"], "--schema broken.json: "),
        (["capture", "prompts.jsonl", "-s", "a.json", "-g", "none.py"], "none.py: No such file"),
        (["capture", "-s", "a.json"], "name a file of prompts, or pass --stdin"),
        (["capture", "prompts.jsonl", "bad.jsonl", "-s", "a.json"], "bad.jsonl: name one file of prompts"),
        (["run", "prompts.jsonl", "-s", "a.json", "-g", "none.py"], "none.py: No such file"),
        (["run", "prompts.jsonl", "-s", "a.json", "--append"], "--append: name the file with -o"),
        (["run", "--agent", "a", "--tasks", "t", "-j", "2"], "run: --concurrency is for prompts run with -s"),
        (["capture", "bad.jsonl", "-s", "a.json"], "bad.jsonl:2: not a PromptCase"),
        (["capture", "prompts.jsonl", "-s", "a.json", "--append"], "--append: name the file with -o"),
        (["capture", "prompts.jsonl", "-s", "a.json", "-o", "./prompts.jsonl"], "that is the file of prompts"),
        (["run", "prompts.jsonl", "--simple", "echo"], "--simple: write {} where the prompt goes"),
        (["run", "prompts.jsonl", "-s", "a.json", "-t", "abc"], "--timeout abc: not a number of milliseconds"),
        (["run", "prompts.jsonl"], "run: name --agent and --tasks; or prompts, with one of -s, --simple and --shell"),
        (["run", "--agent", "a", "--tasks", "t", "--stdin"], "run: --stdin is for prompts run with -s"),
        (["run", "--agent", "a", "-s", "a.json"], "run: --agent is for --agent and --tasks only"),
    ],
)
def test_what_cannot_begin_is_one_line_and_status_2(adapter, capsys, words, said):
    adapter.write_jsonl({"id": "a", "input": "hi"})
    adapter.write_jsonl({"id": "a", "input": "hi"}, {"id": 7, "input": "hi"}, name="bad.jsonl")
    adapter.write("broken.json", "{}")
    assert main(words) == 2
    told = capsys.readouterr()
    assert (told.out, said in told.err, told.err.count("\n")) == ("", True, 1)


@pytest.mark.parametrize("words", [["trials", "p", "-s", "a", "-k", "0"], ["capture", "p", "-s", "a", "-t", "abc"]])
def test_numbers_are_checked(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2


def test_what_pytest_refuses_is_told_and_nothing_is_written(adapter, capsys):
    adapter.write_jsonl({"id": "a", "input": "hi"})
    Path("r.jsonl").write_text("old")
    adapter.write("gone.json", json.dumps({**SCHEMA, "command": ["no-such-program"]}))
    assert main(["capture", "prompts.jsonl", "-s", "gone.json", "-o", "r.jsonl"]) == 2
    assert capsys.readouterr().err.startswith("agentcap: no-such-program is not on PATH")
    assert Path("r.jsonl").read_text() == "old"
    adapter.write("conftest.py", "import pytest\n@pytest.fixture\ndef turns():\n    raise RuntimeError('why')")
    assert main(["capture", "prompts.jsonl", "-s", "a.json", "-o", "r.jsonl"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "agentcap: RuntimeError: why", "agentcap: 1 of 1 sessions did not take place",
    ]  # fmt: skip


def test_of_a_corpus_that_pytest_refuses_only_its_reason_is_told(tmp_path):
    tell = "import os; os.write(int(os.environ['AGENTCAP_TELL_FD']), b'{\"refused\": \"p.jsonl:3: why\"}\\n')"
    with pytest.raises(ValueError, match=r"^p\.jsonl:3: why$"):
        list(_told_by([sys.executable, "-c", f"{tell}; print('ERROR: more'); os._exit(2)"], tmp_path / "log"))
    with pytest.raises(ValueError, match=r"^pytest could not run the prompts\nlast$"):
        list(_told_by([sys.executable, "-c", "print('last'); raise SystemExit(3)"], tmp_path / "log"))


def test_no_prompts_are_no_rows(adapter, capsys):
    Path("prompts.jsonl").write_text("\n")
    assert main(["capture", "prompts.jsonl", "-s", "a.json", "-o", "r.jsonl"]) == 0
    assert Path("r.jsonl").read_text() == ""


def test_finished_rows_stay_when_it_is_ended(adapter):
    adapter.write_jsonl({"id": "a", "input": "hi"}, {"id": "b", "input": "wait"})
    code = "import sys; from pytest_agentcap.cli import main; sys.exit(main())"
    words = ["capture", "prompts.jsonl", "-s", "a.json", "-o", "r.jsonl"]
    process = subprocess.Popen([sys.executable, "-c", code, *words])
    deadline = time.monotonic() + 60
    while not list(adapter.path.glob(".agentcap/*/sessions/b_turn_01.out")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(180) == 128 + signal.SIGTERM
    assert [row["id"] for row in rows(Path("r.jsonl").read_text())] == ["a"]
    # The agent was ended with it.
    words = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    assert str(adapter.path / "agent.py") not in {word for each in words for word in each}


def test_rows_replace_a_file_only_when_there_are_some(tmp_path):
    path = tmp_path / "folder" / "rows.jsonl"
    with open_rows(path, append=False) as rows_:
        assert not path.exists()
        rows_.write("one")
        assert path.read_text() == "one\n"
    with pytest.raises(RuntimeError), open_rows(path, append=False):
        raise RuntimeError
    assert path.read_text() == "one\n"
    for open_line, kept in (('{"id": "whole"}', '{"id": "whole"}\n'), ("one\n", "one\n"), ("", "")):
        path.write_text(open_line)
        with open_rows(path, append=True) as rows_:
            rows_.write("two")
        assert path.read_text() == f"{kept}two\n"
    path.write_text('{"id": "a"}\n{"id": "cut')
    with pytest.raises(ValueError, match=r"rows\.jsonl: its last line is cut off"), open_rows(path, append=True):
        pass
    assert path.read_text().endswith("cut")
    assert [each.name for each in path.parent.iterdir()] == ["rows.jsonl"]


def test_what_is_no_file_is_written_to_and_a_link_is_followed(tmp_path):
    pipe, link, target = tmp_path / "pipe", tmp_path / "link", tmp_path / "folder" / "target"
    os.mkfifo(pipe)
    target.parent.mkdir()
    link.symlink_to(target)
    # Both ends, so that nobody waits.
    ends = os.open(pipe, os.O_RDWR)
    try:
        write_output(pipe, b"one\n")
        with open_rows(pipe, append=False) as rows_:
            rows_.write("two")
        assert os.read(ends, 100) == b"one\ntwo\n"
    finally:
        os.close(ends)
    assert pipe.is_fifo()
    write_output(link, b"one\n")
    with open_rows(link, append=False) as rows_:
        rows_.write("two")
    assert link.is_symlink()
    assert target.read_text() == "two\n"


def test_agents_of_definitions_do_not_bypass_the_proxy(project):
    project.write_tasks("hi")
    done = project.pytest("--agent", "loop", "--sandbox", "host", "--bypass")
    assert "--bypass is for headless adapters" in "\n".join(done.errlines + done.outlines)
    done = project.pytest("--agent", "loop", "--bypass")
    assert "--bypass: agents run on this machine only: pass --sandbox host" in "\n".join(done.errlines)
