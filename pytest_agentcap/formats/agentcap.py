"""agentcap's own run directories: what its tools read, and nothing that it does not know."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from pytest_agentcap.conversation.model import Call
from pytest_agentcap.conversation.records import CallRecord
from pytest_agentcap.conversation.session import Conversation
from pytest_agentcap.formats.facts import run_of
from pytest_agentcap.formats.lines import Line, file_name, json_line
from pytest_agentcap.runs.results import GOOD_VERDICTS

_SERVED = {"x_served_by": "served_by", "build_info": "served_build_info", "served_model": "served_model"}


def lines(conversations: Iterable[Conversation]) -> Iterator[Line]:
    """Yield `<run>/captures/<rid>.request.json` and `.response.json` for each call, and `<run>/run.json`.

    agentcap knows neither trials nor attempts: each session is a task, named as its files are.
    """
    for run, sessions in groupby(conversations, key=run_of):
        tasks: list[dict[str, Any]] = []
        first: CallRecord | None = None
        for conversation in sessions:
            first = first or conversation.record
            tasks.append(_task(conversation))
            for call in conversation.calls:
                yield from _pair(run, conversation.name, call)
        if first:
            yield json_line(file_name(run, "run", ".json"), _manifest(first, tasks))


def _manifest(first: CallRecord, tasks: list[dict[str, Any]]) -> dict[str, Any]:
    label = first.text("label")
    return {
        **{name: first.text(name) for name in ("agent", "model", "provider")},
        "upstream": first.text("upstream_url"),
        "turns_per_task": max((len(task["turns"]) for task in tasks), default=1),
        "followup": None,
        "tasks": tasks,
        **({"label": label} if label else {}),
    }


def _task(conversation: Conversation) -> dict[str, Any]:
    turns = sorted({call.turn for call in conversation.calls if call.turn is not None})
    prompts = (m.text for call in conversation.calls for m in call.request.messages if m.role == "user")
    stands = conversation.record.text("verdict") in GOOD_VERDICTS
    return {
        "task_id": conversation.name,
        "prompt": next(prompts, ""),
        "session_id": None,
        "completed_turns": len(turns) if stands else max(0, len(turns) - 1),
        "turns": [{"turn": turn, "returncode": None, "duration_s": None} for turn in turns],
    }


def _pair(run: str, task: str, call: Call) -> Iterator[Line]:
    record = call.record
    asked = {
        "request_id": record.rid,
        "captured_at": record.integer("captured_at"),
        "upstream_url": record.text("upstream_url"),
        "task_id": task,
        "turn": call.turn,
    }
    yield _file(run, record.rid, "request", asked, "body", record.request)
    if record.response is None:
        return
    ended = record.integer("captured_at_resp")
    ended_at_ns = call.ended_at_ns
    told = {
        "request_id": record.rid,
        "captured_at_resp": ended_at_ns // 1_000_000_000 if ended is None and ended_at_ns is not None else ended,
        "stream": record.response.key == "raw",
        "status_code": call.status_code,
        "upstream_fingerprint": {key: text for key, name in _SERVED.items() if (text := record.text(name))},
    }
    yield _file(run, record.rid, "response", told, record.response.key, record.response.text)


def _file(run: str, rid: str, half: str, head: dict[str, Any], key: str, body: bytes) -> Line:
    """Write a file's head, and its body as the text it is."""
    data = json.dumps(head).encode().removesuffix(b"}") + b', "%b": %b}\n' % (key.encode(), body)
    return Line(file_name(run, "captures", f"{rid}.{half}", ".json"), data)
