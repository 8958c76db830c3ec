from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pytest_agentcap import __version__
from pytest_agentcap.cli import main
from pytest_agentcap.runs.frames import REQUEST, RESPONSE, SESSION, encode_frame
from pytest_agentcap.runs.layout import FOLDER, RunDirectory, create_run
from pytest_agentcap.runs.pairs import finish_journals

RID = "abcd0123" * 4
STREAM = 'data: {"usage":{"prompt_tokens":3,"completion_tokens":4}}\n\ndata: \x1b[2J\n\n'


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """An empty workspace that commands find by their environment."""
    monkeypatch.setenv("AGENTCAP_WORKSPACE", str(tmp_path))
    for name in ("AGENTCAP_API_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / FOLDER).mkdir()
    return tmp_path


def make_run(workspace: Path, name: str, tasks: list[dict[str, Any]], **facts: Any) -> RunDirectory:
    run = RunDirectory(workspace / FOLDER / name)
    for place in (run.captures, run.results):
        place.mkdir(parents=True)
    known = {"agent": "pi", "model": "org/m", "provider": "local", "upstream": "http://u", "turns_per_task": 1}
    run.manifest.write_text(json.dumps({**known, **facts, "tasks": tasks}))
    return run


def task(name: str, verdict: str | None, **more: Any) -> dict[str, Any]:
    return {"task_id": name, "corpus": "shop", "trial": 1, "attempt": 1, "verdict": verdict, **more}


def write_journal(run: RunDirectory, rid: str = RID, response: bytes | None = STREAM.encode()) -> Path:
    asked = {
        "request_id": rid, "turn": 1, "call_index": 1, "api": "chat", "path": "/v1/chat/completions",
        "upstream_url": "http://u", "started_at_ns": 7_000_000_000, "request_headers": [["x-\x1b", "a\nb"]],
    }  # fmt: skip
    told = {
        "request_id": rid, "status_code": 200, "response_headers": [["content-type", "text/event-stream"]],
        "ended_at_ns": 8_000_000_000, "duration_ms": 12.4, "complete": True, "error": None,
    }  # fmt: skip
    frames = [
        *encode_frame(SESSION, {"task_id": "buy", "session": rid, "corpus": "shop", "trial": 1, "attempt": 1}),
        *encode_frame(REQUEST, asked, b'{"model":"m","n":1e400,"key":"sk-12345678"}'),
        *(encode_frame(RESPONSE, told, response) if response is not None else []),
    ]
    journal = run.journal(rid)
    journal.write_bytes(b"".join(frames))
    return journal


@pytest.fixture
def run(workspace):
    """A finished run with one call."""
    run = make_run(workspace, "pi-local-1", [task("buy", "passed")])
    write_journal(run)
    finish_journals(run.captures)
    return run


def test_version(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert (stopped.value.code, capsys.readouterr().out) == (0, f"agentcap {__version__}\n")


def test_no_command_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 2
    assert "agentcap: error: " in capsys.readouterr().err


def test_ls_tells_tasks_that_stand_by_their_last_attempt_and_marks_unfinished_runs(workspace, run, capsys):
    again = [task("a", "infra"), task("a", "captured", attempt=2), task("b", "failed"), task("b", "passed", trial=2)]
    make_run(workspace, "pi-local-2", again)
    make_run(workspace, "pi-local-3", [task("a", None), task("b", "passed")], model="m\x1b")
    assert main(["ls"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "RUN_ID      AGENT  MODEL    TASKS  CAPTURES",
        "pi-local-1  pi     m        1/1    1",
        "pi-local-2  pi     m        2/3    0",
        "pi-local-3  pi     m\\u001b  1/2*   0",
    ]
    assert err == "agentcap: * unfinished: still running, or ended before its session did\n"


def test_ls_long_adds_provider_and_upstream(run, capsys):
    assert main(["ls", "-l"]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["RUN_ID", "AGENT", "MODEL", "PROVIDER", "TASKS", "CAPTURES", "UPSTREAM"],
        ["pi-local-1", "pi", "m", "local", "1/1", "1", "http://u"],
    ]


def test_ls_long_tells_runs_apart_by_their_labels_where_there_are_any(workspace, run, capsys):
    make_run(workspace, "pi-local-2", [task("a", "captured")], label="skill")
    assert main(["ls", "-l"]) == 0
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == ["LABEL", "-", "skill"]


def test_ls_json_is_for_scripts(run, capsys):
    assert main(["ls", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told == {
        "run_id": "pi-local-1", "path": str(run.path), "agent": "pi", "model": "org/m", "provider": "local",
        "upstream": "http://u", "tasks_ok": 1, "tasks": 1, "captures": 1, "finished": True, "label": None,
        "fault": None, "to_resume": 0, "command": None,
    }  # fmt: skip


def test_ls_counts_the_turns_of_agentcaps_own_runs(workspace, capsys):
    done = {"task_id": "task_01", "completed_turns": 2}
    make_run(workspace, "old", [done, {"task_id": "task_02", "completed_turns": 1}], turns_per_task=2)
    make_run(workspace, "stub", [])
    main(["ls"])
    assert [line.split()[-2] for line in capsys.readouterr().out.splitlines()] == ["TASKS", "1/2", "0/0*"]


def test_ls_takes_a_run_of_the_proxy_alone_for_finished_once_its_journal_is(workspace, capsys):
    run = create_run(workspace / FOLDER, "proxy", "local")
    write_journal(run)
    main(["ls"])
    finish_journals(run.captures)
    main(["ls"])
    assert [line.split()[-2:] for line in capsys.readouterr().out.splitlines()[1::2]] == [["0/0*", "0"], ["0/0", "1"]]


def test_ls_finds_the_workspace_by_argument_environment_or_directory(
    run, workspace, tmp_path_factory, monkeypatch, capsys
):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for arguments in ([], [str(workspace)], [str(workspace / FOLDER)]):
        assert main(["ls", *arguments]) == 0
        assert "pi-local-1" in capsys.readouterr().out
    monkeypatch.delenv("AGENTCAP_WORKSPACE")
    monkeypatch.chdir(elsewhere)
    assert main(["ls"]) == 0
    out, err = capsys.readouterr()
    assert (out, err.startswith(f"agentcap: no workspace at {elsewhere / FOLDER}")) == ("", True)
    monkeypatch.chdir(workspace)
    assert main(["ls"]) == 0
    assert "pi-local-1" in capsys.readouterr().out


def test_ls_shows_a_run_whose_manifest_is_broken_and_says_so(run, capsys):
    run.manifest.write_text("{")
    assert main(["ls"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[1].split() == ["pi-local-1", "-", "-", "0/0*", "1"]
    assert err.startswith(f"agentcap: {run.manifest}: not a run manifest")


def test_ls_imports_nothing_heavy(run):
    code = (
        "import sys; from pytest_agentcap.cli import main; main(['ls'])\n"
        "print({'pyarrow', 'httpx', 'podman', 'huggingface_hub', 'msgspec'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=_environment())
    assert (done.stderr, done.stdout.count("\n")) == ("set()\n", 2)


def test_export_finishes_journals_masks_keys_and_writes_the_parquet(workspace, monkeypatch, capsys):
    run = make_run(workspace, "crashed", [task("buy", None)])
    journal = write_journal(run)
    monkeypatch.setenv("AGENTCAP_API_KEY", "sk-12345678")
    assert main(["export", "crashed"]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == (f"{run.parquet}: 1 rows, {run.parquet.stat().st_size} bytes, 0 errors\n", "")
    assert not journal.exists()
    (row,) = pq.read_table(run.parquet).to_pylist()
    assert (row["request_id"], row["redacted"]) == (RID, 1)
    assert "sk-12345678" not in row["request"]


def test_export_leaves_the_journal_of_a_live_session(workspace, capsys):
    run = make_run(workspace, "live", [task("buy", None)])
    journal = write_journal(run)
    with journal.open("ab") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        assert main(["export", "live"]) == 0
        assert journal.exists()
    # Whoever writes it also makes its pairs, and knows all of its secrets.
    assert "0 rows" in capsys.readouterr().out
    assert main(["export", "live"]) == 0
    assert "1 rows" in capsys.readouterr().out
    assert not journal.exists()


def test_export_all_takes_every_run_that_has_captures(workspace, run, capsys):
    make_run(workspace, "empty", [])
    write_journal(make_run(workspace, "second", []), rid="0" * 32)
    assert main(["export", "--all"]) == 0
    assert capsys.readouterr().out.count("captures.parquet: 1 rows") == 2


@pytest.mark.parametrize("name", ["pi-local-1", ".", "captures"])
def test_export_takes_ids_and_paths(run, monkeypatch, capsys, name):
    monkeypatch.chdir(run.path)
    assert main(["export", name]) == 0
    assert capsys.readouterr().out.startswith(str(run.parquet))
    assert pq.read_table(run.parquet)["run_id"].to_pylist() == ["pi-local-1"]


def test_export_of_one_run_that_fails_does_not_stop_the_others(workspace, run, capsys):
    other = make_run(workspace, "other", [])
    other.parquet.mkdir()
    assert main(["export", "other", "pi-local-1"]) == 1
    out, err = capsys.readouterr()
    assert out.startswith(str(run.parquet))
    assert err.startswith(f"agentcap: {other.path}: not exported: ")


def test_export_names_files_that_it_cannot_read_and_writes_the_rest(run, capsys):
    broken = run.captures / f"{RID}.response.json"
    broken.write_text("{")
    assert main(["export", run.id]) == 1
    out, err = capsys.readouterr()
    assert out.endswith(f"1 rows, {run.parquet.stat().st_size} bytes, 1 errors\n")
    assert err.startswith(f"agentcap: {broken}: not a capture file")


def test_export_with_a_damaged_journal_writes_the_rest_and_fails(run, capsys):
    run.journal("bad").write_bytes(b"".join(encode_frame(REQUEST, {"request_id": "0" * 32})))
    assert main(["export", run.id]) == 1
    out, err = capsys.readouterr()
    assert "1 rows" in out
    assert "what its session left open cannot be finished" in err


@pytest.mark.parametrize("arguments", [[], ["--all", "pi-local-1"], ["nowhere"], ["pi-local-1", "nowhere"]])
def test_export_refuses_bad_targets_and_writes_nothing(run, capsys, arguments):
    assert main(["export", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), err.startswith("agentcap: ")) == ("", 1, True)
    assert not run.parquet.exists()


def test_show_run_is_a_table_of_its_calls(run, capsys):
    assert main(["show", run.id]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["TASK", "TURN", "CALL", "API", "STATUS", "MS", "PROMPT", "COMPLETION", "RID"],
        ["buy", "1", "1", "chat", "200", "12", "3", "4", "abcd0123"],
    ]


def test_show_run_json_tells_what_is_known_of_each_call(run, capsys):
    (run.captures / f"{RID}.response.json").write_text("{")
    assert main(["show", run.id, "--json"]) == 0
    (call,) = json.loads(capsys.readouterr().out)
    assert (call["request_id"], call["status_code"], call["error"]) == (RID, None, "unreadable_response")


@pytest.mark.parametrize("target", [RID, "abcd", "abcd01"])
def test_show_call_prints_heads_and_bodies_with_controls_escaped(run, capsys, target):
    assert main(["show", target]) == 0
    out = capsys.readouterr().out
    assert f"request_id: {RID}\n" in out
    assert "upstream_url: http://u\n" in out
    assert 'request_headers: [["x-\\u001b", "a\\nb"]]\n' in out
    assert '{\n  "model": "m",\n  "n": 1e400,\n  "key": "sk-12345678"\n}\n' in out
    assert STREAM.replace("\x1b", "\\u001b") in out
    assert "\x1b" not in out


def test_show_call_prints_one_body_alone(run, capsys):
    assert main(["show", RID, "--request"]) == 0
    assert capsys.readouterr().out.startswith('{\n  "model": "m",')
    assert main(["show", RID, "--response"]) == 0
    assert capsys.readouterr().out == STREAM.replace("\x1b", "\\u001b") + "\n"


def test_show_raw_prints_bodies_byte_for_byte(run, capsysbinary):
    assert main(["show", RID, "--request", "--raw"]) == 0
    assert capsysbinary.readouterr().out == b'{"model":"m","n":1e400,"key":"sk-12345678"}'
    assert main(["show", RID, "--response", "--raw"]) == 0
    assert capsysbinary.readouterr().out == STREAM.encode()


def test_show_raw_prints_what_was_no_text(workspace, capsysbinary):
    run = make_run(workspace, "odd", [])
    write_journal(run, response=b"data: \xff\n\n")
    finish_journals(run.captures)
    assert main(["show", RID, "--response", "--raw"]) == 0
    assert capsysbinary.readouterr().out == b"data: \xff\n\n"


def test_show_json_prints_the_records(run, capsys):
    assert main(["show", RID, "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert (records["request"]["task_id"], records["response"]["raw"]) == ("buy", STREAM)
    assert main(["show", RID, "--json", "--response"]) == 0
    assert json.loads(capsys.readouterr().out) == records["response"]


def test_show_call_without_response(workspace, capsys):
    run = make_run(workspace, "cut", [])
    write_journal(run, response=None)
    finish_journals(run.captures)
    assert main(["show", RID]) == 0
    assert capsys.readouterr().out.endswith("(no response)\n")
    assert main(["show", RID, "--response"]) == 2
    assert capsys.readouterr().err == f"agentcap: {RID} has no response\n"
    assert main(["show", RID, "--json", "--response"]) == 0
    assert capsys.readouterr().out == "null\n"


def test_show_refuses_what_names_nothing_or_too_much(workspace, run, capsys):
    write_journal(run, rid="abcd" + "0" * 28)
    finish_journals(run.captures)
    for target in ("abcd", "abc", "ffff", "nowhere", "*", "../pi-local-1/captures/x"):
        assert main(["show", target]) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n"), err.startswith(f"agentcap: {target} is ")) == ("", 1, True)


def test_show_of_a_broken_file_is_one_line(run, capsys):
    broken = run.captures / f"{RID}.request.json"
    broken.write_text("{")
    assert main(["show", RID]) == 2
    assert capsys.readouterr().err.startswith(f"agentcap: {broken}: not a capture file")


def test_a_reader_that_goes_away_is_no_error(run):
    command = [sys.executable, "-c", "import sys; from pytest_agentcap.cli import main; sys.exit(main())", "ls"]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, env=_environment())
    os.close(write)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def test_show_messages_prints_what_was_said(run, capsys):
    body = {"messages": [{"role": "user", "content": "a\x1bb"}]}
    head = {"request_id": RID, "api": "chat"}
    (run.captures / f"{RID}.request.json").write_text(json.dumps({**head, "body": body}))
    assert main(["show", RID, "--messages"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("[0] user\na\\u001bb\n")
    assert main(["show", RID, "--messages", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["request_id"] == RID
    assert told["messages"] == [{"role": "user", "content": "a\x1bb"}]
    assert set(told) == {"request_id", "messages", "response", "error"}


@pytest.mark.parametrize("option", ["--request", "--response", "--raw"])
def test_show_messages_goes_with_json_alone(run, capsys, option):
    assert main(["show", RID, "--messages", option]) == 2
    assert "--messages goes with --json alone" in capsys.readouterr().err
