"""Sessions as rows of agent-eval-harness's result files: from a session's result, its conversation, or both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import UNSET

from pytest_agentcap.conversation.model import Call
from pytest_agentcap.conversation.session import Conversation
from pytest_agentcap.formats.eval_rows import (
    CaptureResult,
    GraderResult,
    Input,
    NamedResult,
    Origin,
    Step,
    Timing,
)
from pytest_agentcap.formats.facts import session_facts
from pytest_agentcap.formats.trajectory import has_failed, richness_of, trajectory_of

JUDGED = frozenset({"passed", "failed"})
_CLEAN = frozenset({*JUDGED, "captured"})


def capture_row(
    result: Mapping[str, Any] | None,
    conversation: Conversation | None,
    run_id: str | None = None,
    steps: Sequence[Step] = (),
) -> CaptureResult:
    """Tell one session; `result` is its result file's content, None for captures that come without.

    Without a result, the prompt, the reply and the times are those of the main conversation, and a verdict of passed
    or failed is a score of 1 or 0. Without a conversation, no call was captured; `steps` are what the agent told of
    itself then. Raises ValueError when both are None.
    """
    told = dict(result) if result else _told_by_calls(conversation)
    started, ended = told.get("started_at"), told.get("ended_at")
    start_ns = None if started is None else round(started * 1e9)
    told_by_agent = () if conversation else steps
    steps = trajectory_of(conversation, start_ns) if conversation else list(steps)
    turns: Sequence[Mapping[str, Any]] = told.get("turns") or ()
    timed_out = any(turn.get("timed_out") for turn in turns)
    verdict = told.get("verdict")
    graders = [_named(grader) for grader in told.get("graders") or ()]
    score = score_of(verdict, graders)
    known = {
        "exitCode": turns[-1].get("returncode") if turns else None,
        "timedOut": timed_out or verdict == "agent_timeout",
    }
    return CaptureResult(
        id=str(told.get("task_id") or told.get("session")),
        input=_input(told, turns),
        output=_output(turns, conversation),
        hint=told.get("hint") or UNSET,
        trajectory=steps,
        metadata={
            **(told.get("metadata") or {}),
            "agent": told.get("agent"),
            "trajectoryRichness": richness_of(steps),
            "turnCount": len(turns)
            if result
            else len({call.turn for call in conversation.calls} if conversation else ()),
            **(known if result else {}),
        },
        timing=_timing(told, conversation, start_ns, ended, told_by_agent),
        tool_errors=has_failed(steps) or timed_out,
        errors=[f"{verdict}: {told.get('reason') or 'no reason was recorded'}"] if _went_wrong(verdict) else UNSET,
        score=score or UNSET,
        outcome=score.outcome if score else UNSET,
        verdict=verdict or UNSET,
        reason=told.get("reason") or UNSET,
        graders=graders or UNSET,
        origin=_origin(told, conversation, run_id),
    )


def _told_by_calls(conversation: Conversation | None) -> dict[str, Any]:
    """Tell what a result would, from the captures alone."""
    if conversation is None:
        raise ValueError("a session without result and without calls tells nothing")
    starts = [call.started_at_ns for call in conversation.calls if call.started_at_ns is not None]
    ends = [call.ended_at_ns for call in conversation.calls if call.ended_at_ns is not None]
    return {
        **session_facts(conversation),
        "session": conversation.name,
        "prompt": _prompt(conversation),
        "started_at": min(starts) / 1e9 if starts else None,
        "ended_at": max(ends) / 1e9 if ends else None,
    }


def _prompt(conversation: Conversation) -> str:
    calls = conversation.main.calls if conversation.main else conversation.calls
    return next((message.text for call in calls for message in call.request.messages if message.role == "user"), "")


def _input(told: Mapping[str, Any], turns: Sequence[Mapping[str, Any]]) -> Input:
    prompts = [str(turn.get("prompt")) for turn in turns] or [str(told.get("prompt") or "")]
    return prompts[0] if len(prompts) == 1 else prompts


def _output(turns: Sequence[Mapping[str, Any]], conversation: Conversation | None) -> str:
    reply = str(turns[-1].get("reply") or "") if turns else ""
    return reply or (_last_text(conversation) if conversation else "")


def _last_text(conversation: Conversation) -> str:
    calls: Sequence[Call] = conversation.main.calls if conversation.main else ()
    return next((call.said.text for call in reversed(calls) if call.said and call.said.text), "")


def _timing(
    told: Mapping[str, Any],
    conversation: Conversation | None,
    start_ns: int | None,
    ended: float | None,
    steps: Sequence[Step],
) -> Timing:
    start = None if start_ns is None else start_ns // 1_000_000
    end = None if ended is None else round(ended * 1000)
    firsts = [call.first_byte_at_ns for call in conversation.calls] if conversation else []
    first = min((at for at in firsts if at is not None), default=None)
    response: Any = next((step.timestamp for step in steps if step.timestamp is not None), UNSET)
    if first is not None and start_ns is not None:
        response = round((first - start_ns) / 1e6, 3)
    total = None if start is None or end is None else end - start
    return Timing(
        start=start,
        end=end,
        first_response=response,
        session_creation=_beside_turns(told, total),
        total=total,
        input_tokens=_tokens(told, conversation, "prompt_tokens"),
        output_tokens=_tokens(told, conversation, "completion_tokens"),
    )


def _beside_turns(told: Mapping[str, Any], total: int | None) -> int | None:
    """Return what of a session's time was no turn: starting its sandbox, almost all of it."""
    turns = told.get("turns")
    if total is None or not turns:
        return None
    in_turns = sum(1000 * float(turn["duration_s"]) for turn in turns)
    return max(0, total - round(in_turns))


def _tokens(told: Mapping[str, Any], conversation: Conversation | None, name: str) -> Any:
    if told.get(name) is not None:
        return told[name]
    counts = [getattr(call.usage, name) for call in conversation.calls] if conversation else []
    known = [count for count in counts if count is not None]
    return sum(known) if known else UNSET


def _went_wrong(verdict: Any) -> bool:
    return verdict is not None and verdict not in _CLEAN


def _named(grader: Mapping[str, Any]) -> NamedResult:
    return NamedResult(
        name=grader["name"],
        passed=grader["passed"],
        score=grader["score"],
        reasoning=grader.get("reasoning"),
        outcome=grader.get("outcome"),
        duration_s=grader.get("duration_s"),
    )


def score_of(verdict: str | None, graders: Sequence[NamedResult]) -> GraderResult | None:
    """Join the graders' verdicts: all must pass, the score is the mean; None unless the session was judged."""
    if verdict not in JUDGED:
        return None
    passed = verdict == "passed"
    if not graders:
        return GraderResult(passed=passed, score=1 if passed else 0)
    if len(graders) == 1:
        only = graders[0]
        outcome = UNSET if only.outcome is None else only.outcome
        return GraderResult(
            passed=passed,
            score=only.score,
            reasoning=UNSET if only.reasoning is None else only.reasoning,
            outcome=outcome,
        )
    reasons = [f"{grader.name}: {grader.reasoning}" for grader in graders if grader.reasoning]
    score = sum(grader.score for grader in graders) / len(graders)
    return GraderResult(passed=passed, score=score, reasoning="\n".join(reasons) or UNSET)


def _origin(told: Mapping[str, Any], conversation: Conversation | None, run_id: str | None) -> Origin:
    rids = [call.rid for call in conversation.calls] if conversation else list(told.get("request_ids") or ())
    return Origin(
        run=run_id or told.get("run_id"),
        session=str(told.get("session")),
        corpus=told.get("corpus"),
        trial=told.get("trial") or 1,
        attempt=told.get("attempt") or 1,
        agent_version=told.get("agent_version"),
        model=told.get("model"),
        request_ids=rids,
    )
