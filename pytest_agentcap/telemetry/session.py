"""The telemetry of a session that has just ended."""

from __future__ import annotations

from pytest_agentcap.conversation.session import Conversation
from pytest_agentcap.telemetry.model import SessionTelemetry
from pytest_agentcap.telemetry.monitor import Monitor
from pytest_agentcap.telemetry.steps import model_steps
from pytest_agentcap.telemetry.tools import tool_spans


def session_telemetry(conversation: Conversation | None, monitor: Monitor | None, wall_s: float) -> SessionTelemetry:
    """Derive steps and tool spans from what a session said, and put to them what was measured.

    `conversation` is None without any call that can be read, `monitor` where nobody watched.
    """
    derived = SessionTelemetry()
    if conversation:
        derived = SessionTelemetry(model_steps(conversation), tool_spans(conversation))
    return monitor.finish(derived, wall_s) if monitor else derived
