"""Which recorded call answers a request."""

from __future__ import annotations

import json
from functools import partial

import huggingface_hub
import pytest
from local_hub import READER, LocalHub, Repo

from pytest_agentcap.conversation.records import CallRecord
from pytest_agentcap.proxy.wire import Origin
from pytest_agentcap.publish.parquet import write_parquet
from pytest_agentcap.replay.form import Rules
from pytest_agentcap.replay.recording import RecordingError
from pytest_agentcap.replay.session import LIVE

PATH = {"path": "/v1/chat/completions", "query": ""}


def ask(replayed, record_or_body, turn=1):
    body = record_or_body.request if isinstance(record_or_body, CallRecord) else record_or_body
    origin = Origin(replayed.lease.token, turn, "chat", "/v1/chat/completions", "")
    found = replayed.session.answer(origin, body)
    return found.rid if isinstance(found, CallRecord) else found


@pytest.fixture
def buy(new_session, run):
    """A recorded session of two calls, the second of which was made twice."""
    session = new_session("buy", **PATH)
    first = [session.SYSTEM, session.user("buy milk")]
    second = [*first, session.says(None, ("call_1", {"command": "ls"})), session.result("call_1", "milk")]
    session.call(first, session.says("I look"))
    session.call(second, session.says("one"))
    session.call(second, session.says("two"))
    session.save(run)
    return session


def test_each_recorded_response_is_used_once_and_in_order(buy, run, replayed):
    replaying = replayed(run.path)
    first, second, third = buy.records
    assert [ask(replaying, each) for each in (second, first, second)] == [second.rid, first.rid, third.rid]
    assert replaying.session.note == "replay: 3 calls answered from the recording"
    assert "recorded 2× and was asked once more" in ask(replaying, second)


def test_a_session_tells_what_it_did_not_ask_for(buy, run, replayed):
    replaying = replayed(run.path)
    ask(replaying, buy.records[0])
    assert replaying.session.note.endswith("2 recorded calls were not asked for")


def test_sessions_that_replay_the_same_recording_do_not_use_up_each_others_answers(buy, run, replayed):
    one = replayed(run.path)
    other = replayed(run.path, replay=one.replay, trial=2)
    assert [ask(each, buy.records[0]) for each in (one, other)] == [buy.records[0].rid] * 2


def test_a_miss_halts_the_session_and_shows_how_the_nearest_request_differs(buy, run, replayed, asking):
    replaying = replayed(run.path)
    ask(replaying, buy.records[0])
    body = buy.records[1].request.replace(b'"content": "milk"', b'"content": "bread"')
    assert body != buy.records[1].request
    told = ask(replaying, body)
    assert told.startswith("call 2 (turn 1, chat) is not in the recording: the nearest recorded request is call 2, ")
    assert replaying.lease.halt == f"replay: {told}"
    changed = [
        line.strip() for line in replaying.session.difference if line[0] in "-+" and line[:3] not in ("---", "+++")
    ]
    assert changed == ['-    "content": "milk",', '+    "content": "bread",']
    assert ask(replaying, buy.records[1]) == told, "a session that was halted goes on"


def test_a_miss_of_a_long_request_shows_a_part_only(buy, run, replayed, asking):
    replaying = replayed(run.path)
    ask(replaying, asking([{"role": "user", "content": "\n".join(f"line {n} " + "x" * 500 for n in range(5000))}]))
    assert len(replaying.session.difference) == 81
    assert max(map(len, replaying.session.difference)) <= 201
    assert replaying.session.difference[-1].endswith("more lines")


def test_rules_of_a_corpus_make_of_a_miss_a_match(buy, run, replayed):
    body = buy.records[1].request.replace(b'"content": "milk"', b'"content": "bread"')
    assert ask(replayed(run.path, Rules().ignoring("milk|bread")), body) == buy.records[1].rid


def test_the_session_of_the_same_task_trial_and_agent_answers(new_session, run, replayed):
    recorded = {}
    for number, (agent, task, trial) in enumerate(
        [("pi", "buy", 1), ("pi", "buy", 2), ("opencode", "buy", 1), ("pi", "sell", 1)]
    ):
        session = new_session(f"s{number}", agent=agent, task_id=task, trial=trial, **PATH)
        recorded[agent, task, trial] = session.call([session.user("hello")], session.says("hi"))
        session.save(run)
    request = recorded["pi", "buy", 1]
    for (agent, task, trial), record in recorded.items():
        assert ask(replayed(run.path, agent=agent, task_id=task, trial=trial), request) == record.rid
    assert ask(replayed(run.path, agent="goose", trial=2), request) == recorded["pi", "buy", 2].rid
    assert ask(replayed(run.path, trial=7), request) == recorded["pi", "buy", 1].rid


def test_a_session_of_an_unknown_task_is_found_by_what_it_asks(new_session, run, replayed, asking):
    recorded = []
    for name in ("one", "two", "three"):
        session = new_session(name, task_id=name, **PATH)
        start = [session.SYSTEM, session.user("same" if name != "one" else "other")]
        session.call(start, session.says("so"))
        recorded.append(session.call([*start, session.says("so"), session.user(name)], session.says("done")))
        session.save(run)
    replaying = replayed(run.path, task_id="renamed")
    opening = json.loads(recorded[2].request)
    opening["messages"] = opening["messages"][:2]
    first = ask(replaying, json.dumps(opening).encode())
    assert first.startswith("0000000000000001")
    assert ask(replaying, recorded[2]) == recorded[2].rid
    assert "is not in the recording" in ask(replaying, recorded[1])


def test_of_a_session_that_was_tried_again_the_last_attempt_answers(new_session, run, replayed):
    for attempt in (1, 2):
        session = new_session(f"buy-a{attempt}", attempt=attempt, **PATH)
        record = session.call([session.user("hello")], session.says(f"attempt {attempt}"))
        session.save(run)
    assert ask(replayed(run.path), record) == record.rid


def test_a_run_and_its_parquet_replay_alike(buy, run, replayed, tmp_path):
    write_parquet(run)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "part.parquet").write_bytes(run.parquet.read_bytes())
    rids = [record.rid for record in buy.records]
    for source in (run.path, run.captures, run.parquet, folder):
        replaying = replayed(source)
        assert [ask(replaying, record) for record in buy.records] == rids


def test_fallthrough_asks_the_model_for_what_is_not_recorded_only(buy, run, replayed, asking):
    replaying = replayed(run.path, mode="fallthrough", upstream="http://h")
    answers = [ask(replaying, each) for each in (buy.records[0], asking([]), buy.records[1])]
    assert answers == [buy.records[0].rid, LIVE, buy.records[1].rid]
    assert replaying.session.note.startswith("replay: 2 calls answered from the recording, 1 by the model")
    assert replaying.lease.halt is None


def test_prefix_asks_the_model_for_all_from_the_first_divergence_on(buy, run, replayed, asking):
    replaying = replayed(run.path, mode="prefix", upstream="http://h")
    answers = [ask(replaying, each) for each in (buy.records[0], asking([]), buy.records[1])]
    assert answers == [buy.records[0].rid, LIVE, LIVE]


def test_a_fork_asks_the_model_from_its_turn_on(buy, run, replayed):
    replaying = replayed(run.path, mode="prefix", upstream="http://h", fork_at=2)
    assert [ask(replaying, buy.records[0], 1), ask(replaying, buy.records[1], 2)] == [buy.records[0].rid, LIVE]


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir(), lambda path: path.write_text("no")])
def test_what_is_no_recording_is_one_line_that_names_it(tmp_path, replayed, make):
    source = tmp_path / "nothing"
    make(source)
    with pytest.raises(RecordingError, match=r"\Areplay:\S*nothing: .*") as raised:
        replayed(source)
    assert "\n" not in str(raised.value)


def test_a_run_without_calls_is_no_recording(run, replayed):
    run.captures.mkdir(parents=True)
    with pytest.raises(RecordingError, match="it holds no call"):
        replayed(run.path)


def test_a_dataset_on_the_hub_replays(buy, run, replayed, tmp_path, monkeypatch):
    class Filled(LocalHub):
        def add(self, name: str, content: bytes) -> None:
            self._put("org/shop-captures", {name: self._keep(content)})

    write_parquet(run)
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf-home"))
    with Filled(tmp_path / "state").serving() as hub:
        hub.repos["org/shop-captures"] = Repo(private=True)
        hub.add("data/train-1.parquet", run.parquet.read_bytes())
        # HF_ENDPOINT counts at the first import only, which may be long past.
        files = partial(huggingface_hub.HfFileSystem, endpoint=hub.url, token=READER, skip_instance_cache=True)
        monkeypatch.setattr("huggingface_hub.HfFileSystem", files)
        replaying = replayed("hf://datasets/org/shop-captures")
        assert [ask(replaying, record) for record in buy.records] == [record.rid for record in buy.records]
        with pytest.raises(RecordingError, match="replay:hf://datasets/org/none: "):
            replayed("hf://datasets/org/none")
