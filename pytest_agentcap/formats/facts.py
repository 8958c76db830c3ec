"""What every exported record says about where it is from."""

from __future__ import annotations

from typing import Any

from pytest_agentcap.conversation.model import Call
from pytest_agentcap.conversation.session import Conversation

_TEXTS = ("run_id", "corpus", "task_id", "session", "agent", "agent_version", "label", "provider", "verdict")


def session_facts(conversation: Conversation) -> dict[str, Any]:
    """Tell run, task and verdict of a session; what is not known is None."""
    record = conversation.record
    return {
        **{name: record.text(name) for name in _TEXTS},
        "trial": record.integer("trial"),
        "attempt": record.integer("attempt"),
        "model": _asked(conversation),
    }


def _asked(conversation: Conversation) -> str | None:
    """Name the model of the conversation about the task: agents ask others for titles, often first."""
    main = conversation.main
    return (main.calls if main else conversation.calls)[0].model


def run_of(conversation: Conversation) -> str:
    """Name the run for a path; calls that the proxy recorded on its own may have none."""
    return conversation.record.text("run_id") or "run"


def call_facts(call: Call) -> dict[str, Any]:
    """Tell the call that a record ends with."""
    return {
        "request_id": call.rid,
        "api": call.api,
        "finish_reason": call.answer.finish_reason if call.answer else None,
        "prompt_tokens": call.usage.prompt_tokens,
        "completion_tokens": call.usage.completion_tokens,
    }
