"""Paths and lines of a host, replaced at export."""

from __future__ import annotations

import json
import re
import shlex
import socket
from pathlib import Path

import pytest

from pytest_agentcap.cli import main
from pytest_agentcap.conversation.session import read_conversation
from pytest_agentcap.formats.redaction import Redaction
from pytest_agentcap.formats.registry import FORMATS
from pytest_agentcap.runs.layout import RunDirectory

HOME = "/home/ada"
PAGE = (Path(__file__).parents[2] / "docs" / "export.md").read_text("utf-8")


@pytest.fixture
def session(new_session):
    """A session in which the path stands in a prompt, in arguments, in a key, in a result and in an answer."""
    session = new_session()
    messages = [session.SYSTEM, session.user(f"look at {HOME}/fixture/a.txt")]
    asks = session.says(None, ("c1", {"command": f"cat -I{HOME}/x", f"{HOME}/key": 1}), thinking=f"in {HOME}")
    session.call(messages, asks)
    result = session.result("c1", f"file://{HOME}/y\nuid=1000(ada) gid=1000\n{HOME}2 and {HOME}.")
    session.call([*messages, asks, result], session.says(f"it is {HOME}/z"))
    return session


@pytest.fixture
def run(session, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AGENTCAP_WORKSPACE", raising=False)
    run = RunDirectory(tmp_path / "run")
    session.save(run)
    return run


def test_paths_and_lines_are_replaced_wherever_they_stand_and_counted(session):
    redaction = Redaction.of([HOME, f"{HOME}/fixture/=/testdata"], [r"^uid=\d+"])
    (told,) = redaction.apply([read_conversation(session.records)])
    first, second = told.calls
    assert first.request.messages[1].text == "look at /testdata/a.txt"
    assert first.said
    assert first.said.thinking == "in <redacted path>"
    arguments = {"command": "cat -I<redacted path>/x", "<redacted path>/key": 1}
    assert first.said.tool_calls[0].parsed_arguments == arguments
    result = second.request.messages[3].tool_results[0].text
    assert result == f"file://<redacted path>/y\n<redacted line>\n{HOME}2 and <redacted path>."
    assert redaction.report == "redacted 7 paths and 1 lines in 1 sessions"


def test_a_redacted_session_is_still_one_thread_with_its_results(session):
    (told,) = Redaction.of([HOME], ["uid="]).apply([read_conversation(session.records)])
    assert [thread.kind for thread in told.threads] == ["main"]
    (use,) = told.tool_uses
    assert use.result


def test_what_has_no_hit_is_the_same(session):
    conversation = read_conversation(session.records)
    redaction = Redaction.of(["/nowhere"], ["never"])
    (told,) = redaction.apply([conversation])
    assert told.calls == conversation.calls
    assert redaction.report == "redacted 0 paths and 0 lines in 0 sessions"


def test_folders_of_sessions_on_this_machine_are_paths_of_it(session):
    folder = "/tmp/agentcap-0/23346-3618761-4026531836/tmp5zkd_5b7"
    redaction = Redaction.of([], [], sessions=True)
    assert redaction.text(f"HOME={folder}/home:{folder}/work/a /tmp/agentcap-0/x") == (
        "HOME=<redacted path>/home:<redacted path>/work/a /tmp/agentcap-0/x"
    )
    assert redaction.replaced_paths == 2
    assert Redaction.of([], []).text(folder) == folder


def test_names_that_become_one_keep_their_values():
    redaction = Redaction.of([], ["secret"])
    assert redaction._json('{"secret a":1,"secret b":2}') == '{"<redacted line>":1,"<redacted line>\'":2}'


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"agentcap", "dpo"}))
def test_no_format_tells_what_was_redacted(run, capsys, name):
    assert main(["export", "run", "--format", name, "-o", "out"]) == 0
    before = sorted(Path("out").rglob("*.*"))
    lines = [path.read_bytes().count(b"\n") for path in before if path.suffix != ".parquet"]
    capsys.readouterr()
    assert main(["export", "run", "--format", name, "-o", "out", "--redact-path", HOME, "--redact-line", "uid="]) == 0
    assert "out: redacted 7 paths and 1 lines in 1 sessions" in capsys.readouterr().out
    after = sorted(Path("out").rglob("*.*"))
    assert after == before
    assert [path.read_bytes().count(b"\n") for path in after if path.suffix != ".parquet"] == lines
    for path in after:
        data = path.read_bytes()
        if path.suffix == ".parquet":
            import pyarrow.parquet as pq

            data = json.dumps(pq.read_table(path).to_pylist()).encode()
        assert not re.search(rb"/home/ada\b(?!2)|uid=", data)


def test_the_example_runs_as_shown(session, run, monkeypatch, capsys):
    monkeypatch.setenv("HOME", HOME)
    (line,) = re.findall(r"^agentcap export .*--redact-host.*$", PAGE, re.MULTILINE)
    words = [word.replace("$PWD", str(Path.cwd())) for word in shlex.split(line)]
    messages = [session.user(f"{Path.cwd()}/fixture/b is on {socket.gethostname()}\nand {Path.cwd()}/fixture/c")]
    session.call(messages, session.says("yes"))
    session.save(run)
    assert main(["run" if word == "RUN" else word for word in words[1:]]) == 0
    text = Path("agentcap-agenttrace/agenttrace.jsonl").read_text()
    assert "<redacted path>/z" in text
    assert HOME + "/" not in text
    assert str(Path.cwd()) not in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--redact-host"], "another --format only"),
        (["--format", "agentcap", "--redact-line", "x"], "another --format only"),
        (["--format", "sft", "--redact-line", "("], "--redact-line (: not a regular expression"),
        (["--format", "sft", "--redact-path", "home"], "--redact-path home: not an absolute path"),
    ],
)
def test_what_cannot_be_redacted_is_one_line(run, capsys, arguments, said):
    assert main(["export", "run", *arguments]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
