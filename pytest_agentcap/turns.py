"""One turn: the agent's command run to its end, its deadline or the upstream's, and what it said."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_agentcap.agents.driver import Driver
from pytest_agentcap.agents.steps import write_arrivals, write_steps
from pytest_agentcap.budget import Budget, LimitReached
from pytest_agentcap.command_limit import CommandLimit, CommandWatch
from pytest_agentcap.corpus.task import Task
from pytest_agentcap.faults import UpstreamFault, UpstreamWatch
from pytest_agentcap.followup.base import Draft, Said, next_prompt
from pytest_agentcap.logs import OutputLimit, check_output, keep_output
from pytest_agentcap.outcome import Turn
from pytest_agentcap.plan import SessionPlan, Surroundings
from pytest_agentcap.runs.masking import Mask
from pytest_agentcap.sandbox.base import Command, Completed, SandboxError, SandboxSession

if TYPE_CHECKING:
    from pytest_agentcap.proxy.leases import Lease


@dataclass(frozen=True, slots=True)
class Stage:
    """Hold what the turns of one session are run with."""

    plan: SessionPlan
    around: Surroundings
    box: SandboxSession
    lease: Lease
    watch: UpstreamWatch
    driver: Driver
    budget: Budget
    commands: CommandWatch | None = None

    @property
    def mask(self) -> Mask:
        return Mask.of(self.plan.secrets, self.lease.token)


@dataclass(frozen=True, slots=True)
class EndedTurn:
    """Hold a turn, the agent's session id as far as it is known, and the upstream's fault if that ended the turn."""

    turn: Turn
    session_id: str | None
    fault: str | None


def prompt_of(plan: SessionPlan, task: Task, turns: Sequence[Turn]) -> Draft:
    """Return what is said next: the task's own prompts first, then follow-ups."""
    number = len(turns) + 1
    if number <= len(task.prompts):
        return Draft(task.prompts[number - 1])
    return next_prompt(plan.followup, number, [Said(turn.prompt, turn.reply) for turn in turns])


def run_turn(
    stage: Stage, prompt: str, number: int, session_id: str | None, timeout_s: float, tick: Callable[[], None]
) -> EndedTurn:
    """Run one turn; `tick` is called a few times a second.

    Raises SandboxError or OSError when it cannot be run.
    """
    run, name = stage.plan.run, stage.plan.claim.session
    command, session_id = stage.driver.prepare(prompt, number, session_id)
    stdout, stderr = run.output(name, number, "out"), run.output(name, number, "err")
    command = replace(command, stdout=stdout, stderr=stderr, timeout_s=timeout_s)
    waited_s = stage.lease.waiting.total_s
    try:
        completed, fault = _run(stage, command, prompt, number, tick)
    except SandboxError:
        for path in filter(Path.exists, (stdout, stderr)):
            keep_output(path, stage.mask)
        raise
    out, err = keep_output(stdout, stage.mask), keep_output(stderr, stage.mask)
    answer = stage.driver.answer(out, err, session_id)
    write_steps(run.output(name, number, "steps.jsonl"), answer.steps)
    write_arrivals(run.output(name, number, "arrivals.json"), answer.arrivals)
    turn = Turn(
        number,
        prompt,
        answer.reply,
        completed.exit_code,
        completed.timed_out,
        round(completed.duration_s, 3),
        err,
        completed.limit,
        round(stage.lease.waiting.total_s - waited_s, 3),
    )
    return EndedTurn(turn, answer.session_id, fault)


def _run(
    stage: Stage, command: Command, prompt: str, number: int, tick: Callable[[], None]
) -> tuple[Completed, str | None]:
    debug = stage.around.debug
    shown = debug.follow(stage.plan.claim.session, number, command, prompt, stage.lease.token) if debug else None

    def ticked() -> None:
        tick()
        if shown:
            shown.advance()
        stage.watch.check()
        if stage.commands:
            stage.commands.check()
        stage.budget.check()
        check_output(stage.plan.options.disk, command.stdout, command.stderr)

    started = time.monotonic()
    try:
        completed, fault = stage.driver.run(command, ticked), None
        if stage.commands:
            stage.commands.settle()
    except (CommandLimit, OutputLimit) as reached:
        completed, fault = Completed(None, False, time.monotonic() - started, str(reached)), None
    except UpstreamFault as error:
        completed = Completed(None, False, time.monotonic() - started)
        fault = f"turn {number} was ended: {error}"
    except LimitReached:
        completed, fault = Completed(None, False, time.monotonic() - started), None
    if shown:
        shown.end(completed)
    return completed, fault
