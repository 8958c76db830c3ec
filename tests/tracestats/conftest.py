"""Traces: a run of ours, and rows as AgentTrace itself writes them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pytest_agentcap.conversation.session import read_conversation
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.results import update_result
from pytest_agentcap.telemetry.model import Resources, SessionTelemetry
from pytest_agentcap.telemetry.steps import model_steps
from pytest_agentcap.telemetry.stored import plain_telemetry
from pytest_agentcap.telemetry.tools import tool_spans

USED = Resources("taskstats", "exact", 0.25, 0.05, 200 << 20, None, 0, 4096, 8192, 8192, 1, 0, 0.4, 0.1)


@pytest.fixture
def run(workspace, new_session) -> RunDirectory:
    """A run of one session: `false` fails, the same tool then succeeds; the first was measured, the second was not."""
    run = RunDirectory(workspace / ".agentcap" / "shop-run")
    session = new_session("buy")
    messages = [session.SYSTEM, session.user("buy milk")]
    first, second = (session.says(None, (name, {"command": text})) for name, text in (("c1", "false"), ("c2", "true")))
    session.call(messages, first)
    messages += [first, session.result("c1", "exit code: 1")]
    session.call(messages, second)
    session.call([*messages, second, session.result("c2", "exit code: 0")], session.says("done"))
    session.save(run)
    conversation = read_conversation(session.records)
    one, two = tool_spans(conversation)
    telemetry = SessionTelemetry(model_steps(conversation), (replace(one, resources=USED), two))
    update_result(run.result("buy"), telemetry=plain_telemetry(telemetry))
    return run


@pytest.fixture
def foreign() -> dict[str, Any]:
    """A row as AgentTrace writes it: clocks without an epoch, Python's spelling, memory as a high-water mark."""
    telemetry = {"user_time_s": 0.5, "system_time_s": 0.0, "max_rss_bytes": 1 << 30, "read_bytes": 0, "write_bytes": 0}
    span = {
        "span_id": "s1", "type": "TOOL", "tool_name": "bash", "tool_input": "kwargs={'command': 'ls /testdata'}",
        "tool_output": "exit_code: 2\nstdout:\n", "start_ns": 5, "end_ns": 6, "duration_ms": 250.0,
        "telemetry": telemetry, "exit_code": 0, "parent_span_id": None,
    }  # fmt: skip
    step = {
        "step_id": "1", "step_number": 1, "model_output": "ok", "reasoning_content": None, "tool_calls": None,
        "duration_ms": 500.0, "input_tokens": 100, "output_tokens": 20,
    }  # fmt: skip
    return {
        "trace_id": "t1", "timestamp_utc": "2026-01-01T00:00:00+00:00", "prompt": "list", "model": "Qwen3-0.6B",
        "spans": [span], "llm_steps": [step], "total_duration_ms": 1000.0,
        "metadata": {"schema_version": "0.3.0", "source": "nl2bash", "task_id": 3, "run_id": 1},
    }  # fmt: skip
