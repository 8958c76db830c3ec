"""Tool spans from captures alone: each tool call with its result and the window in which it ran."""

from __future__ import annotations

from pytest_agentcap.conversation.session import Conversation, ToolUse
from pytest_agentcap.telemetry.exit_codes import exit_code_in
from pytest_agentcap.telemetry.model import Timing, ToolSpan


def tool_spans(conversation: Conversation) -> tuple[ToolSpan, ...]:
    """Return the tool calls of a session, thread by thread, joined to their results in the thread's next request."""
    return tuple(_span(use) for use in conversation.tool_uses)


def _span(use: ToolUse) -> ToolSpan:
    asked = use.asked_by.said.tool_calls if use.asked_by.said else ()
    position = next((at for at, call in enumerate(asked) if call is use.call), 0)
    result = use.result
    code = exit_code_in(result.text) if result else None
    start, end = use.started_at_ns, use.ended_at_ns
    if start is not None and end is not None:
        # Read from the clock twice: a request never comes before the answer that it follows.
        end = max(start, end)
    timing: Timing = "none" if start is None or end is None else "shared" if len(asked) > 1 else "window"
    return ToolSpan(
        span_id=f"{use.asked_by.rid}-{position}",
        request_id=use.asked_by.rid,
        result_id=use.told_in.rid if use.told_in else None,
        call_id=use.call.id,
        position=position,
        thread=use.thread.index,
        thread_kind=use.thread.kind,
        turn=use.asked_by.turn,
        name=use.call.name,
        arguments=use.call.arguments,
        output=result.text if result else None,
        is_error=result.is_error if result else None,
        window_start_ns=start,
        window_end_ns=end,
        started_at_ns=start,
        ended_at_ns=end,
        timing=timing,
        exit_code=code,
        exit_code_source=None if code is None else "text",
        answered_ns=use.asked_by.first_byte_at_ns,
    )
