"""How a session ended: the verdict, its reason, and what a failing test shows of it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_agentcap.faults import tells_nothing, trouble_of
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.results import GOOD_VERDICTS
from pytest_agentcap.tally import Tally, total_tokens

if TYPE_CHECKING:
    from pytest_agentcap.grading.base import GraderResult
    from pytest_agentcap.grading.combine import Graded
    from pytest_agentcap.proxy.leases import Call

_KILLED = 128 + signal.SIGKILL
_SHOWN_LINES = 15
# A line of a bundled script has as many as the script.
_SHOWN_CHARS = 400
_SHOWN_CALLS = 40


@dataclass(frozen=True, slots=True)
class Turn:
    """Tell how one turn went; `returncode` is None when it was killed, at its deadline or for its use of the disk.

    `limit` says which limit of the sandbox was reached in it, `waited_s` for how long calls of it were held back.
    """

    number: int
    prompt: str
    reply: str
    returncode: int | None
    timed_out: bool
    duration_s: float
    stderr: str
    limit: str | None = None
    waited_s: float = 0.0

    @property
    def was_killed(self) -> bool:
        """Tell whether a limit ended it, and not merely one of its processes."""
        return self.limit is not None and not self.timed_out and self.returncode in (None, _KILLED)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Hold what became of a session so far; `tally` is empty until the session is stopped.

    `difference` tells, in lines, of a request that is not in the recording which is replayed.
    """

    verdict: str
    reason: str | None
    turns: tuple[Turn, ...]
    calls: tuple[Call, ...]
    graders: tuple[GraderResult, ...]
    run: RunDirectory
    session: str
    tally: Tally
    abort_reason: str | None
    freeze: Callable[[], Path]
    difference: Sequence[str] = ()

    @property
    def reply(self) -> str:
        """Return what the agent said last, or an empty text before its first turn."""
        return self.turns[-1].reply if self.turns else ""

    @property
    def workspace(self) -> Path:
        """Return a copy of the workspace as the agent left it."""
        return self.freeze()

    @property
    def prompt_tokens(self) -> int | None:
        return total_tokens(self.tally.own_tokens, 0)

    @property
    def completion_tokens(self) -> int | None:
        return total_tokens(self.tally.own_tokens, 1)

    @property
    def headline(self) -> str:
        return f"{self.verdict}: {self.reason}" if self.reason else self.verdict

    def check(self) -> None:
        """Fail the test, with the verdict and its reason, unless the session was captured or passed."""
        __tracebackhide__ = True
        if self.verdict not in GOOD_VERDICTS:
            pytest.fail(self.headline, pytrace=False)


def judge(
    turns: Sequence[Turn],
    calls: Sequence[Call],
    infra: str | None,
    abort: str | None,
    graded: Graded,
    *,
    bypass: bool = False,
    used_up: str | None = None,
) -> tuple[str, str | None]:
    """Return the verdict and its reason.

    What the infrastructure broke is never the agent's failure: a turn that failed while the upstream did, or a session
    without one answered call, is `infra`. So is a turn that ran out of time and had waited for most of it. `used_up`
    says which limit has had a call refused. An agent that may `bypass` the proxy needs no call.
    """
    if infra:
        return "infra", infra
    if used_up:
        return "limit", used_up
    last = turns[-1] if turns else None
    if last is not None and (last.timed_out or last.returncode != 0):
        broken = None if last.was_killed else _breakdown(calls[-1:])
        if broken:
            return "infra", broken
        if last.limit and not last.timed_out:
            return "limit", f"turn {last.number}: {last.limit}"
        if last.timed_out and last.waited_s > last.duration_s / 2:
            waited = f"{last.waited_s:.0f} of its {last.duration_s:.0f} s"
            return "infra", f"turn {last.number} ran out of time: calls were held back for {waited}"
        if last.timed_out:
            return "agent_timeout", f"turn {last.number} was ended after {last.duration_s:.0f} s"
        return "agent_error", f"turn {last.number} ended with exit code {last.returncode}{_last_words(last.stderr)}"
    if not calls and not bypass:
        return "no_calls", "the agent made no model call"
    if calls and not any(call.status is not None and call.status < 400 for call in calls):
        broken = _breakdown(calls)
        return ("infra", broken) if broken else ("agent_error", "no call was answered")
    if abort:
        return "agent_error", abort
    if graded.error is not None:
        return "grader_error", graded.error
    for grader in graded.results:
        if not grader.passed:
            return "failed", f"{grader.name}: {grader.reasoning or f'score {grader.score:g}'}"
    return ("passed" if graded.results else "captured"), None


def _breakdown(calls: Sequence[Call]) -> str | None:
    """Say what the upstream did wrong in the last of these calls that was not broken off from our side, or None."""
    told = [call for call in calls if not tells_nothing(call)]
    trouble = trouble_of(told[-1]) if told else None
    return f"the upstream {trouble}" if trouble else None


def _last_words(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return f": {lines[-1][:200]}" if lines else ""


def report_section(outcome: Outcome) -> str:
    """Describe a session for a failing test: its calls, the agent's last stderr lines, where its captures are."""
    from pytest_agentcap.text import printable

    lines = [printable(outcome.headline), "", f"{'call':>4}  {'turn':>4}  {'api':<12}{'status':>6}{'ms':>10}  tokens"]
    for call in outcome.calls[-_SHOWN_CALLS:]:
        duration = "-" if call.duration_ms is None else f"{call.duration_ms:.0f}"
        status = "-" if call.status is None else str(call.status)
        used = "+".join("?" if n is None else str(n) for n in outcome.tally.tokens.get(call.rid, (None, None)))
        marks = f"{call.error or ''} {outcome.tally.others.get(call.rid, '')}".strip()
        lines.append(
            f"{call.index:>4}  {call.turn:>4}  {call.api:<12}{status:>6}{duration:>10}  {used}  {printable(marks)}"
        )
    if not outcome.calls:
        lines.append("  (none)")
    if outcome.difference:
        lines += ["", "the request and the nearest recorded one:", *(f"  {printable(x)}" for x in outcome.difference)]
    for turn in outcome.turns[-1:]:
        said = turn.stderr.splitlines()[-_SHOWN_LINES:] or ["(none)"]
        lines += [
            "",
            f"last stderr lines of turn {turn.number}:",
            *(f"  {printable(line if len(line) <= _SHOWN_CHARS else line[:_SHOWN_CHARS] + '…')}" for line in said),
        ]
    lines += ["", f"captures: {outcome.run.captures}", f"logs:     {outcome.run.sessions}/{outcome.session}_turn_*"]
    return "\n".join(line.rstrip() for line in lines)
