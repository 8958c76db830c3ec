"""What a run of the corpus `check` shows of an agent, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pytest_agentcap.agents.spec import AgentSpec
from pytest_agentcap.runs.captures import Capture, find_captures
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.results import read_result
from pytest_agentcap.upstream.script import FINISHED

# The first stands in the corpus's first prompt and nowhere else; the second is what its first command prints.
WORD, PRODUCT = b"kingfisher", b"42037"
_NAMED = 3
_SHOWN = 60
_ONE_TURN = "the definition has no command for it"


@dataclass(frozen=True, slots=True)
class Finding:
    """Tell whether one step works; `works` is None where the agent's definition does without it."""

    step: str
    works: bool | None
    said: str


def findings_of(agent: AgentSpec, run: RunDirectory) -> list[Finding]:
    """Read a finished run of the corpus `check`, which has one session.

    Raises ValueError naming the file that is broken.
    """
    (path,) = run.results.glob("*.json")
    result = read_result(path)
    calls = list(find_captures(run))
    return [
        _turn(result, 1),
        _calls(agent, result, calls),
        _tool_call(calls),
        _turn(result, 2)
        if agent.command.next
        else Finding("second turn", None, "the definition has no command for it"),
        _memory(agent, calls),
        _trace(agent, run, path.stem, result),
        _reply(result),
    ]


def _turn(result: dict[str, Any], number: int) -> Finding:
    step = ("first turn", "second turn")[number - 1]
    if len(result["turns"]) < number:
        return Finding(step, False, f"not run: {_why(result)}")
    turn = result["turns"][number - 1]
    seconds = f"{turn['duration_s']:.1f} s"
    if turn["returncode"] != 0:
        return Finding(step, False, f"{_why(result)} ({seconds})")
    return Finding(step, True, seconds)


def _calls(agent: AgentSpec, result: dict[str, Any], calls: Sequence[Capture]) -> Finding:
    apis = [capture.request.head["api"] for capture in calls]
    # An adapter does not say which API its program speaks.
    wanted = apis[0] if apis and agent.is_adapter else agent.api
    if wanted not in apis:
        spoken = f"only of {', '.join(sorted(set(apis)))}" if apis else _why(result)
        return Finding("calls captured", False, f"none of the API {wanted!r}: {spoken}")
    answers = [capture.response.head["status_code"] if capture.response else None for capture in calls]
    failed = sorted({str(status) for status in answers if status != 200})
    if failed:
        return Finding("calls captured", False, f"{len(calls)}, of which some were answered {', '.join(failed)}")
    return Finding("calls captured", True, f"{len(calls)} of the API {wanted!r}")


def _tool_call(calls: Sequence[Capture]) -> Finding:
    ran = any(PRODUCT in capture.request.text for capture in calls)
    said = "a later request carries what the command printed" if ran else "no request carries what the command prints"
    return Finding("tool call run", ran, said)


def _memory(agent: AgentSpec, calls: Sequence[Capture]) -> Finding:
    step = "session goes on"
    if not agent.command.next:
        return Finding(step, None, _ONE_TURN)
    later = [capture.request.text for capture in calls if capture.request.head["turn"] == 2]
    carried = any(WORD in text and PRODUCT in text for text in later)
    return Finding(step, carried, f"turn 2 {'carries' if carried else 'does not carry'} turn 1")


def _trace(agent: AgentSpec, run: RunDirectory, session: str, result: dict[str, Any]) -> Finding:
    if not (agent.trace.paths or agent.trace.export):
        return Finding("trace kept", None, "the definition names none")
    kept = sorted(path.name for path in run.trace(session).rglob("*") if path.is_file())
    lost = [note for note in result["notes"] if note.startswith("no trace")]
    more = f" and {len(kept) - _NAMED} more" if len(kept) > _NAMED else ""
    said = ", ".join(kept[:_NAMED] or lost) + more
    return Finding("trace kept", bool(kept), said or "nothing is where the definition says")


def _reply(result: dict[str, Any]) -> Finding:
    replies = [turn["reply"] for turn in result["turns"] if turn["returncode"] == 0]
    read = bool(replies) and all(FINISHED in reply for reply in replies)
    shown = " ".join(replies[-1].split())[:_SHOWN] if replies else ""
    return Finding("reply read", read, shown or "it is empty")


def _why(result: dict[str, Any]) -> str:
    return str(result["reason"] or result["abort_reason"] or "it was not begun")
