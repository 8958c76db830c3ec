"""The telemetry of a session that has just ended."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_agentcap.conversation.records import CallRecord, record_of_capture
from pytest_agentcap.conversation.session import Conversation, read_conversation
from pytest_agentcap.runs.captures import Capture, CaptureError
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.telemetry.model import SessionTelemetry
from pytest_agentcap.telemetry.steps import model_steps
from pytest_agentcap.telemetry.tools import tool_spans


def derived_telemetry(run: RunDirectory, rids: Iterable[str]) -> SessionTelemetry:
    """Derive steps and tool spans from the captures of a session, as far as they can be read."""
    conversation = _conversation(run, rids)
    if conversation is None:
        return SessionTelemetry()
    return SessionTelemetry(model_steps(conversation), tool_spans(conversation))


def _conversation(run: RunDirectory, rids: Iterable[str]) -> Conversation | None:
    records: list[CallRecord] = []
    for rid in rids:
        try:
            records.append(record_of_capture(Capture(rid, run.captures), {"run_id": run.id}))
        except (CaptureError, OSError):
            # Whoever reads the run is told which file it is.
            continue
    return read_conversation(records) if records else None
