from __future__ import annotations

import json

from pytest_agentcap.agents.output import read_reply, read_session_id
from pytest_agentcap.agents.spec import ReplySource, SessionSource

EVENTS = [
    {"type": "start", "session_id": "s-1"},
    {"type": "result", "result": "done\n"},
    {"type": "result", "result": "2"},
]
RESULT = ReplySource(json="result", where={"type": "result"})
ID = SessionSource(id="output", json="session_id")


def test_events_are_read_from_lines_between_notices() -> None:
    out = "\n".join(["[notice] hello", *map(json.dumps, EVENTS), "bye"])
    assert read_reply(RESULT, out) == "done\n\n2"
    assert read_session_id(ID, out, "") == "s-1"


def test_events_are_read_from_one_list_on_one_line_or_over_many() -> None:
    for out in (json.dumps(EVENTS), json.dumps(EVENTS, indent=2)):
        assert read_reply(RESULT, out) == "done\n\n2"
        assert read_session_id(ID, out, "") == "s-1"


def test_a_reply_may_stand_in_one_document() -> None:
    assert read_reply(ReplySource(json="info.submission"), json.dumps({"info": {"submission": "x"}}, indent=1)) == "x"


def test_a_path_leads_through_lists_and_there_may_be_several() -> None:
    said = {"by": "agent", "message": {"content": [{"type": "text", "text": "a"}, {"type": "image"}, {"text": "b"}]}}
    handed_in = {"by": "agent", "action": {"message": "c"}}
    out = "\n".join(map(json.dumps, (said, {**said, "by": "user"}, handed_in)))
    source = ReplySource(json=("message.content.text", "action.message"), where={"by": "agent"})
    assert read_reply(source, out) == "a\n\nb\n\nc"


def test_without_a_path_all_of_the_output_is_the_reply() -> None:
    assert read_reply(ReplySource(), " hello\n") == "hello"


def test_a_pattern_is_searched_in_stdout_and_then_in_stderr() -> None:
    source = SessionSource(id="output", pattern=r"session_id: (\S+)")
    assert read_session_id(source, "nothing", "session_id: e-1") == "e-1"
    assert read_session_id(source, "session_id: o-1", "session_id: e-1") == "o-1"
    assert read_session_id(source, "", "") is None
