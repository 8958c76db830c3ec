from __future__ import annotations

import json
from dataclasses import replace

import pytest

from pytest_agentcap.assessment import conversation_of
from pytest_agentcap.conversation.model import Sampling
from pytest_agentcap.conversation.session import read_conversation
from pytest_agentcap.conversation.sources import Faults, read_parquet, read_run_directory
from pytest_agentcap.publish.parquet import write_parquet
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.results import update_result
from pytest_agentcap.telemetry.model import UNMEASURED, Resources, SessionTelemetry
from pytest_agentcap.telemetry.session import session_telemetry
from pytest_agentcap.telemetry.steps import model_steps
from pytest_agentcap.telemetry.stored import plain_telemetry, read_resources, read_telemetry
from pytest_agentcap.telemetry.tools import tool_spans

USED = Resources("taskstats", "exact", 1.5, 0.25, 200 << 20, None, 0, 20_000_000, 4096, 20_000_512, 3, 1, 2.0, 0.5)


@pytest.fixture
def session(new_session):
    session = new_session()
    asked = session.says(None, ("c1", {"command": "ls"}), ("c2", {"command": "rm"}))
    messages = [session.SYSTEM, session.user("look")]
    session.call(messages, asked)
    results = [session.result("c1", "exit code: 0"), session.result("c2", "exit code: 1")]
    session.call([*messages, asked, *results], session.says("done"))
    return session


@pytest.fixture
def measured(session) -> SessionTelemetry:
    conversation = read_conversation(session.records)
    first, second = tool_spans(conversation)
    first = replace(
        first, started_at_ns=1_600_000_000, ended_at_ns=1_700_000_000, timing="process", exit_code=3,
        exit_code_source="process", background=True, resources=USED,
    )  # fmt: skip
    second = replace(second, background=False, resources=Resources("cgroup", "window", user_s=0.5))
    return SessionTelemetry(model_steps(conversation), (first, second), {1: USED}, USED, 0.97)


@pytest.fixture
def run(session, measured, tmp_path) -> RunDirectory:
    run = RunDirectory(tmp_path / "run")
    session.save(run)
    update_result(run.result(session.name), telemetry=plain_telemetry(measured))
    return run


def test_what_was_measured_comes_back_from_a_run_directory(run, measured):
    faults = Faults()
    (conversation,) = read_run_directory(run, faults)
    assert read_telemetry(conversation) == measured
    assert faults.lines == []


def test_what_was_measured_comes_back_from_a_parquet_file(run, measured):
    path = write_parquet(run).path
    (conversation,) = read_parquet(path, Faults())
    assert read_telemetry(conversation) == measured


def test_a_session_that_nobody_measured_has_its_steps_and_spans(session):
    telemetry = read_telemetry(read_conversation(session.records))
    assert (len(telemetry.steps), len(telemetry.tools)) == (2, 2)
    assert telemetry.session == telemetry.tools[0].resources == UNMEASURED
    assert (telemetry.turns, telemetry.coverage) == ({}, None)


def test_the_parameters_that_were_asked_for_are_told_with_what_was_left_to_the_server(measured):
    first, second = measured.steps
    first = replace(first, sampling=Sampling(temperature=0.0, seed=7, stop=("x",)))
    told = plain_telemetry(replace(measured, steps=(first, replace(second, sampling=Sampling(temperature=0.0)))))
    assert told["sampling"] == {"temperature": [0.0], "seed": [7, None], "stop": [("x",), None]}
    assert plain_telemetry(measured)["sampling"] == {}


def test_texts_are_left_to_the_captures(measured):
    kept = json.dumps(plain_telemetry(measured))
    assert "done" not in kept
    assert '"command"' not in kept


def test_telemetry_of_a_session_is_derived_from_its_pair_files(session, tmp_path):
    run = RunDirectory(tmp_path / "run")
    session.save(run)
    rids = [record.rid for record in session.records]
    telemetry = session_telemetry(conversation_of(run, [*rids, "f" * 32]), None, 1.0)
    assert [step.request_id for step in telemetry.steps] == rids
    assert [span.exit_code for span in telemetry.tools] == [0, 1]
    assert session_telemetry(conversation_of(run, []), None, 1.0) == SessionTelemetry()


def test_what_somebody_else_wrote_into_resources_is_not_believed():
    odd = {"source": "guess", "quality": 1, "user_s": "2", "peak_rss_bytes": 1.5, "processes": True}
    assert read_resources(odd) == UNMEASURED
