"""One session's file of a report: metrics, outputs and transcript, under AgentGym's names where it has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pytest_agentcap.conversation.model import Message, join_text
from pytest_agentcap.conversation.session import Conversation
from pytest_agentcap.conversation.values import parse
from pytest_agentcap.report.outcomes import SessionOutcome
from pytest_agentcap.telemetry.model import ToolSpan
from pytest_agentcap.telemetry.stored import read_telemetry


def task_file(outcome: SessionOutcome, conversation: Conversation | None) -> dict[str, Any]:
    """Return what is written of one session; `conversation` is None when none of its calls can be read."""
    result = outcome.result
    found: Mapping[str, Any] = result.get("assessment") or {}
    said = _final_message(result)
    spans = read_telemetry(conversation).tools if conversation else ()
    return {
        "task": {
            "id": outcome.task,
            "repo": outcome.group,
            "trial": outcome.trial,
            "instruction": result.get("prompt"),
            "difficulty": found.get("difficulty"),
            "max_commands": found.get("max_commands"),
            "source": result.get("source"),
            "metadata": result.get("metadata") or {},
        },
        "run": {"id": outcome.run, "agent": outcome.agent, "model": outcome.model, "session": result.get("session")},
        "metrics": {**metrics(outcome), "hallucination_signals": _signals(spans) if conversation else None},
        "output_checks": found.get("outputs") or [],
        "graders": result.get("graders") or [],
        "safety_events": outcome.safety,
        "transcript": _transcript(conversation, spans, outcome, said) if conversation else None,
        "model_final_message": said,
        "request_ids": result.get("request_ids") or [],
    }


def metrics(outcome: SessionOutcome) -> dict[str, Any]:
    """Return the figures of one session; what is not known is None."""
    found: Mapping[str, Any] = outcome.result.get("assessment") or {}
    return {
        "success": outcome.passed,
        "verdict": outcome.verdict,
        "reason": outcome.reason,
        "first_failure": outcome.failure,
        "score": outcome.score,
        "score_0_100": outcome.score,
        "partial_score": found.get("partial_score"),
        "score_parts": found.get("score_parts"),
        "commands_used": outcome.commands,
        "command_valid_rate": _rate(found.get("commands_ok"), outcome.commands),
        "safety_violations": None if outcome.safety is None else len(outcome.safety),
        "calls": outcome.calls,
        "prompt_tokens": outcome.prompt_tokens,
        "completion_tokens": outcome.completion_tokens,
        "cost_usd": outcome.cost_usd,
        "duration_s": outcome.duration_s,
    }


def _rate(part: int | None, whole: int | None) -> float | None:
    """Return the share of valid commands, as it was scored: none at all are all valid."""
    if part is None or whole is None:
        return None
    return part / whole if whole else 1.0


def _signals(spans: Iterable[ToolSpan]) -> int:
    """Count failed tool calls and exit codes that are not 0: a heuristic of AgentGym's, which scores nothing."""
    return sum(bool(span.is_error) + bool(span.exit_code) for span in spans)


def _transcript(
    conversation: Conversation, spans: Iterable[ToolSpan], outcome: SessionOutcome, said: str | None
) -> dict[str, Any]:
    main = conversation.main
    first = main.calls[0] if main else conversation.calls[0]
    return {
        "prompt_messages": [_message(message) for message in first.request.messages],
        "tool_calls": [tool_call(span) for span in spans],
        "messages": list(_said(conversation)),
        "safety_events": outcome.safety,
        "model_final_message": said,
    }


def _message(message: Message) -> dict[str, Any]:
    return {"role": message.role, "content": join_text(message.parts)}


def _said(conversation: Conversation) -> Iterator[dict[str, Any]]:
    for call in conversation.calls:
        if call.said is not None:
            yield {
                "request_id": call.rid,
                "reasoning": call.said.thinking or None,
                "content": call.said.text or None,
                "tool_calls": [each.name for each in call.said.tool_calls],
            }


def tool_call(span: ToolSpan) -> dict[str, Any]:
    """Return one tool call with its result; its input is an object where the model wrote one, else text."""
    seconds, given = span.duration_s, parse(span.arguments)
    return {
        "tool_name": span.name,
        "ok": None if span.output is None else not (span.is_error or span.exit_code),
        "error": span.output if span.is_error else None,
        "duration_ms": None if seconds is None else round(seconds * 1000, 3),
        "exit_code": span.exit_code,
        "tool_input": given if isinstance(given, dict) else span.arguments,
        "tool_output": span.output,
        "request_id": span.request_id,
    }


def _final_message(result: Mapping[str, Any]) -> str | None:
    replies: Iterable[Mapping[str, Any]] = result.get("turns") or ()
    return next((str(turn["reply"]) for turn in reversed(list(replies)) if turn.get("reply")), None)
