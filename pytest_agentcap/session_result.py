"""How a session has gone so far, and the result that says it."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_agentcap.assessment import assessment_in
from pytest_agentcap.budget import Budget
from pytest_agentcap.conversation.session import Conversation
from pytest_agentcap.formats.eval_rows import CaptureResult
from pytest_agentcap.formats.results_jsonl import capture_row
from pytest_agentcap.formats.told_steps import told_steps
from pytest_agentcap.grading.combine import Graded
from pytest_agentcap.outcome import Outcome, Turn
from pytest_agentcap.plan import SessionPlan
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.results import SessionResult, TurnResult
from pytest_agentcap.sandbox.patch import Patch
from pytest_agentcap.tally import UNCOUNTED, Tally, total_tokens

if TYPE_CHECKING:
    from pytest_agentcap.proxy.leases import Lease


@dataclass(slots=True)
class Progress:
    """Hold how a session has gone so far; the session alone changes it.

    `started` and `ended` are seconds since the epoch. `infra` is what broke beside the upstream, None if nothing did.
    """

    started: float = field(default_factory=time.time)
    ended: float | None = None
    session_id: str | None = None
    turns: list[Turn] = field(default_factory=list)
    abort: str | None = None
    infra: str | None = None
    notes: list[str] = field(default_factory=list)
    graded: Graded = field(default_factory=Graded)
    patch: Patch | None = None
    tally: Tally = UNCOUNTED
    telemetry: dict[str, Any] | None = None

    def broke(self, why: str | None) -> None:
        """Keep what broke; the first reason stands."""
        self.infra = self.infra or why


def forwarded(lease: Lease | None) -> list[str]:
    """Tell what was forwarded without being a call to a model."""
    return [f"{count}× {request}" for request, count in sorted(lease.unrecorded.items())] if lease else []


def result_of(
    plan: SessionPlan, progress: Progress, lease: Lease | None, budget: Budget, outcome: Outcome | None
) -> SessionResult:
    """Return a session's result as it stands; `lease` is None before the session's sandbox has started."""
    rids = tuple(call.rid for call in lease.calls) if lease else ()
    ended, tally, patch = progress.ended, progress.tally, progress.patch
    return SessionResult(
        **plan.identity(),
        started_at=round(progress.started, 3),
        ended_at=round(ended, 3) if ended else None,
        verdict=outcome.verdict if outcome else None,
        reason=outcome.reason if outcome else None,
        abort_reason=progress.abort,
        session_id=progress.session_id,
        turns=tuple(
            TurnResult(t.number, t.prompt, t.returncode, t.duration_s, t.timed_out, t.reply, t.limit, t.waited_s)
            for t in progress.turns
        ),
        calls=len(rids),
        prompt_tokens=total_tokens(tally.own_tokens, 0),
        completion_tokens=total_tokens(tally.own_tokens, 1),
        models=tally.by_model(rids, plan.model) if ended else {},
        request_ids=rids,
        graders=tuple(asdict(each) for each in progress.graded.results),
        assessment=assessment_in(progress.graded.results),
        cost_usd=budget.cost_usd if ended else None,
        waited_s=round(lease.waiting.total_s, 3) if lease else 0.0,
        run_limit=budget.run_limit,
        patch=str(plan.run.patch(plan.claim.session).relative_to(plan.run.path)) if patch else None,
        changed_files=patch.files if patch else None,
        telemetry=progress.telemetry,
        notes=(*progress.notes, *(f"forwarded, not recorded: {each}" for each in forwarded(lease))),
    )


def row_of(run: RunDirectory, result: SessionResult, conversation: Conversation | None) -> CaptureResult:
    """Return a session's result as a row of a result file; its steps are from the wire, or as an adapter told them.

    Raises ValueError or OSError when what an adapter told of its steps cannot be read.
    """
    facts = asdict(result)
    told = () if conversation else told_steps(run, facts)
    return capture_row(facts, conversation, run.id, told)
