"""What a finished run shows of an agent, as one line of the log that tools/make-tested-table reads."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pytest_agentcap.agents.spec import AgentSpec
from pytest_agentcap.conversation.model import Call
from pytest_agentcap.conversation.read import read_call
from pytest_agentcap.conversation.records import record_of_capture
from pytest_agentcap.runs.captures import find_captures
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.manifest import read_manifest
from pytest_agentcap.runs.results import GOOD_VERDICTS, read_result

LOG = "AGENTCAP_TESTED_LOG"


def log_tested(agent: AgentSpec, run: RunDirectory, *, scripted: bool) -> None:
    """Append what the run shows to the file that AGENTCAP_TESTED_LOG names; without that variable do nothing."""
    if log := os.environ.get(LOG):
        line = json.dumps(tested_facts(agent, run, scripted=scripted)) + "\n"
        with Path(log).open("a", encoding="utf-8") as file:
            file.write(line)


def tested_facts(agent: AgentSpec, run: RunDirectory, *, scripted: bool) -> dict[str, Any]:
    """Return one row of the table: `turn_2` and `trace` are null where the agent's definition has none.

    `seconds` is the mean duration of a session. Raises ValueError for a run without a finished session.
    """
    results = [read_result(path) for path in sorted(run.results.glob("*.json"))]
    ended = [result for result in results if result["ended_at"] is not None]
    if not ended:
        raise ValueError(f"{run.path}: no session has ended")
    calls = read_calls(run)
    return {
        "model": ended[0]["model"],
        "scripted": scripted,
        "server": None if scripted else read_manifest(run)["provider"],
        "agent": agent.name,
        "version": agent.version,
        "date": datetime.fromtimestamp(ended[0]["started_at"], UTC).date().isoformat(),
        "api": agent.api,
        "sandbox": ended[0]["sandbox"],
        "sessions": len(results),
        "good": sum(result["verdict"] in GOOD_VERDICTS for result in results),
        "calls": len(calls),
        "turn_2": goes_on(results, calls) if agent.command.next else None,
        "trace": keeps_traces(run, results) if agent.trace.paths or agent.trace.export else None,
        "seconds": round(sum(result["ended_at"] - result["started_at"] for result in ended) / len(ended), 1),
    }


def read_calls(run: RunDirectory) -> list[Call]:
    """Read a run's captures, in the order in which the calls were made."""
    calls = [read_call(record_of_capture(capture, {})) for capture in find_captures(run)]
    return sorted(calls, key=lambda call: call.record.order)


def goes_on(results: Iterable[dict[str, Any]], calls: Sequence[Call]) -> bool:
    """Tell whether in every session a call of turn 2 carries turn 1: its prompt, and an answer that was given to it."""
    return all(_second_turn_carries_the_first(result, calls) for result in results)


def _second_turn_carries_the_first(result: dict[str, Any], calls: Sequence[Call]) -> bool:
    own = [call for call in calls if call.record.text("session") == result["session"]]
    opening = result["prompt"].split("\n")[0]
    return any(
        any(opening in message.text for message in call.request.messages if message.role == "user")
        and any(message.role == "assistant" for message in call.request.messages)
        for call in own
        if call.record.integer("turn") == 2
    )


def keeps_traces(run: RunDirectory, results: Iterable[dict[str, Any]]) -> bool:
    """Tell whether every session left a log of the agent's own that is not empty."""
    logs = [run.trace(result["session"]).rglob("*") for result in results]
    return all(any(path.is_file() and path.stat().st_size for path in files) for files in logs)
