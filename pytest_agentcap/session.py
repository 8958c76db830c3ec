"""One agent's session: its turns, its calls, its workspace, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import to_builtins

from pytest_agentcap.agents.commands import variables_of
from pytest_agentcap.agents.driver import Scene, driver_of
from pytest_agentcap.agents.images import image_paths
from pytest_agentcap.agents.left import export_trace, keep_trace
from pytest_agentcap.agents.templates import Variables
from pytest_agentcap.assessment import Evidence, assess, assessment_in, conversation_of, expected_by
from pytest_agentcap.budget import Budget
from pytest_agentcap.command_limit import CommandWatch
from pytest_agentcap.corpus.task import Task
from pytest_agentcap.faults import UpstreamWatch
from pytest_agentcap.formats.eval_rows import CaptureResult, Step
from pytest_agentcap.formats.results_jsonl import capture_row
from pytest_agentcap.formats.told_steps import told_steps
from pytest_agentcap.grading.base import GraderError, GraderInput
from pytest_agentcap.grading.bench import SandboxBench
from pytest_agentcap.grading.combine import Graded, run_graders
from pytest_agentcap.grading.truth import Truth
from pytest_agentcap.limits import Limits
from pytest_agentcap.outcome import Outcome, Turn, judge
from pytest_agentcap.plan import SessionPlan, Surroundings
from pytest_agentcap.provision import provide
from pytest_agentcap.runs.layout import write_whole
from pytest_agentcap.runs.results import SessionResult, TurnResult, save_result
from pytest_agentcap.sandbox.base import Command, SandboxError
from pytest_agentcap.sandbox.patch import Baseline, Patch, make_patch
from pytest_agentcap.sandbox.subfolder import InFolder
from pytest_agentcap.tally import UNCOUNTED, Tally, total_tokens
from pytest_agentcap.telemetry.model import SessionTelemetry
from pytest_agentcap.telemetry.monitor import Monitor
from pytest_agentcap.telemetry.session import derived_telemetry
from pytest_agentcap.telemetry.stored import plain_telemetry
from pytest_agentcap.turns import Stage, prompt_of, run_turn

if TYPE_CHECKING:
    from pytest_agentcap.proxy.leases import Call
    from pytest_agentcap.replay.session import SessionReplay

_TRACE_S = 60.0


class AgentSession:
    """Drive one agent through the turns of one session.

    `run` may be called with a task, which runs all turns, stops the agent and grades; or with prompts, one by one,
    which keeps the session open for more. The sandbox starts with the first of them.
    """

    def __init__(self, plan: SessionPlan, around: Surroundings) -> None:
        self.plan = plan
        self._around = around
        self._opened: Stage | None = None
        self._turns: list[Turn] = []
        self._graded = Graded()
        self._session_id: str | None = None
        self._abort: str | None = None
        self._infra: str | None = None
        self._notes: list[str] = []
        self._started = time.time()
        self._ended: float | None = None
        self._busy = False
        self._frozen: dict[int, Path] = {}
        self._left_out: dict[int, Sequence[str]] = {}
        self._baseline = Baseline(None)
        self._patch: Patch | None = None
        self._tally = UNCOUNTED
        self._monitor: Monitor | None = None
        self._budget = around.budget or Budget(Limits(), None, None, plan.run.captures, plan.model)
        self._telemetry: dict[str, Any] | None = None
        self._replay: SessionReplay | None = None
        self._truth: Truth | None = None

    @property
    def turns(self) -> tuple[Turn, ...]:
        return tuple(self._turns)

    @property
    def calls(self) -> tuple[Call, ...]:
        return tuple(self._opened.lease.calls) if self._opened else ()

    @property
    def workspace(self) -> Path:
        """Return a copy of the workspace as it is now, on this machine; the agent cannot reach it.

        Raises SandboxError when the session has no sandbox (yet).
        """
        if self._opened is None:
            raise SandboxError("the session has no workspace: its sandbox was not started")
        turn = len(self._turns)
        if turn not in self._frozen:
            place = self._around.scratch / f"workspace-{turn}"
            place.mkdir(parents=True)
            self._left_out[turn] = self._opened.box.copy_out(self._opened.box.workspace, place)
            self._notes += self._left_out[turn]
            self._frozen[turn] = place
        return self._frozen[turn]

    def run(self, task: Task | str) -> Outcome:
        """Run a task to its end, or one more prompt; what breaks is in the outcome's verdict and reason."""
        self._busy = True
        try:
            if isinstance(task, str):
                self._open()
                if self._may_go_on():
                    self._turn(task, self.plan.timeout_s(self.plan.task))
            else:
                self._run_task(task)
        except (SandboxError, OSError) as error:
            self._infra = self._infra or str(error)
        self._busy = False
        self._save(self.outcome())
        return self.outcome()

    def outcome(self) -> Outcome:
        """Return how the session stands now."""
        fault = self._opened.lease.fault or self._opened.lease.halt if self._opened else None
        own = [call for call in self.calls if call.rid not in self._tally.others]
        broken, spent = self._infra or fault, self._budget.reached
        verdict, reason = judge(
            self._turns, own, broken, self._abort, self._graded, bypass=self.plan.bypass, used_up=spent
        )
        if verdict == "no_calls" and self._forwarded():
            reason = f"{reason}; not recorded: {', '.join(self._forwarded())}"
        return Outcome(
            verdict=verdict,
            reason=reason,
            turns=self.turns,
            calls=self.calls,
            graders=self._graded.results,
            run=self.plan.run,
            session=self.plan.claim.session,
            tally=self._tally,
            abort_reason=self._abort,
            freeze=lambda: self.workspace,
            difference=self._replay.difference if self._replay else (),
        )

    def _forwarded(self) -> list[str]:
        """Tell what was forwarded without being a call to a model."""
        seen = self._opened.lease.unrecorded if self._opened else {}
        return [f"{count}× {request}" for request, count in sorted(seen.items())]

    def stop(self) -> None:
        """End the agent, then its calls, and make their pair files; further turns are not possible."""
        if self._ended is not None:
            return
        self._ended = time.time()
        if self._opened is None:
            return
        try:
            self._export_trace()
            if self._monitor:
                self._monitor.closing()
            self._opened.box.stop()
            self._keep_trace()
            self._keep_patch()
        finally:
            self._around.proxy.revoke(self._opened.lease)
            if self._replay and self._around.replay:
                self._around.replay.close(self._opened.lease)
                self._notes.append(self._replay.note)
            try:
                self._around.pairs.finish(self._opened.lease.journal.path, self.plan.run.captures)
            except OSError as error:
                self._infra = self._infra or f"captures cannot be written: {error}"
            self._tally = Tally.of(self.plan.run, [call.rid for call in self.calls], self.plan.model)
            self._notes += [self._tally.note] if self._tally.note else []
            self._budget.finish()
            self._notes += self._budget.notes
            self._telemetry = plain_telemetry(self._measured(self._ended))

    def _measured(self, ended: float) -> SessionTelemetry:
        derived = derived_telemetry(self.plan.run, [call.rid for call in self.calls])
        return self._monitor.finish(derived, ended - self._started) if self._monitor else derived

    def close(self) -> None:
        """Stop, save and remove the sandbox whatever happened; a turn that was broken off makes it `infra`."""
        if self._busy:
            self._infra = self._infra or "the session was interrupted"
        try:
            self.stop()
        finally:
            try:
                self._save(self.outcome())
            finally:
                if self._opened:
                    self._opened.box.close()

    def _open(self) -> None:
        if self._opened is not None:
            return
        plan, around = self.plan, self._around
        around.sandbox.prepare(lambda line: None)
        journal = plan.run.journal(plan.claim.session)
        lease = around.proxy.grant(journal, plan.head())
        self._budget.watch(lease)
        around.pairs.follow(journal, plan.run.captures)
        try:
            self._replay = around.replay.open(lease) if around.replay else None
            box = around.sandbox.start(plan.claim.session, around.proxy, plan.options)
        except BaseException:
            around.proxy.revoke(lease)
            around.pairs.finish(journal, plan.run.captures)
            raise
        watch = UpstreamWatch(lease, plan.run.captures, plan.model, around.proxy.recorded_as)
        folder = plan.task.repo.folder if plan.task.repo else "."
        place = box if folder == "." else InFolder(box, folder)
        images = image_paths(box.home, plan.task.images)
        scene = Scene(plan.agent, plan.model, place, lease.token, around.scratch, around.earlier, images)
        most = plan.task.repo.max_commands if plan.task.repo else None
        commands = CommandWatch(lease, plan.run.captures, most) if most else None
        self._opened = Stage(plan, around, box, lease, watch, driver_of(scene), self._budget, commands)
        if around.state:
            self._monitor = Monitor.start(box.processes, around.state, lease)
        self._baseline = provide(plan, box, lease.token, self._around.scratch)

    def _run_task(self, task: Task) -> None:
        scripted = self._around.scripted
        if scripted:
            scripted.learn(task)
        try:
            # Before an agent runs: nothing that it does can move what is expected.
            self._truth = expected_by(task, self.plan.workspace)
            self._open()
            self._run_turns(task)
            self.stop()
            stands = self.outcome().verdict == "captured"
            self._assess()
            if stands:
                self._grade(task)
        finally:
            if scripted:
                scripted.forget(task)

    def _run_turns(self, task: Task) -> None:
        for number in range(1, max(len(task.prompts), self.plan.turns) + 1):
            if not self._may_go_on():
                return
            said = prompt_of(self.plan, task, self._turns)
            self._notes += [said.note] if said.note else []
            turn = self._turn(said.prompt, self.plan.timeout_s(task))
            kind = "initial" if number == 1 else "follow-up"
            if turn.timed_out:
                self._abort = f"{kind}-turn-timeout"
            elif turn.returncode != 0:
                self._abort = f"{kind}-turn-failed"
            if self._abort:
                return

    def _turn(self, prompt: str, timeout_s: float) -> Turn:
        stage = self._stage
        number = stage.lease.turn = len(self._turns) + 1
        with self._monitor.turn(number) if self._monitor else nullcontext():
            ended = run_turn(stage, prompt, number, self._session_id, timeout_s, lambda: self._around.on_change(self))
        self._session_id = ended.session_id
        self._infra = self._infra or ended.fault
        self._turns.append(ended.turn)
        self._save(None)
        return ended.turn

    def _may_go_on(self) -> bool:
        """Tell whether there can be another turn; why not is in the abort reason, by agentcap's names."""
        if self._turns:
            self._abort = self._abort or self._stage.driver.hindrance(self._session_id)
        return self._abort is None and self._budget.reached is None

    @property
    def _stage(self) -> Stage:
        assert self._opened is not None
        return self._opened

    def _variables(self) -> Variables:
        stage = self._stage
        return variables_of(self.plan.model, stage.box, stage.lease.token, self._session_id or "")

    def _export_trace(self) -> None:
        """Have the log of an agent that keeps it in a database; the agent's own program prints it."""
        trace = self.plan.agent.trace
        if not trace.export or not self._turns:
            return
        if self._session_id is None:
            self._notes.append("no trace: the agent has not told its session's name")
            return
        variables, scratch = self._variables(), self._around.scratch
        command = Command(
            [variables.render(word) for word in trace.export],
            {key: variables.render(value) for key, value in self.plan.agent.environment.items()},
            None,
            scratch / "trace.out",
            scratch / "trace.err",
            _TRACE_S,
        )
        into = self.plan.run.trace(self.plan.claim.session) / trace.name
        try:
            self._notes += export_trace(self._stage.box, command, into, self._stage.mask)
        except SandboxError as error:
            # The container of an agent that could not be ended otherwise is gone; that is not why the turn failed.
            self._notes.append(f"no trace: {error}")

    def _keep_trace(self) -> None:
        around, stage = self._around, self._stage
        patterns = [self._variables().render(path) for path in self.plan.agent.trace.paths]
        into = self.plan.run.trace(self.plan.claim.session)
        self._notes += keep_trace(stage.box, patterns, into, around.scratch, stage.mask, around.earlier)

    def _keep_patch(self) -> None:
        """Keep what the session changed in its workspace; that it cannot be told is no failure of anybody's."""
        turn, run, name = len(self._turns), self.plan.run, self.plan.claim.session
        try:
            patch = make_patch(self._baseline, self.workspace, self._left_out.get(turn, ()))
        except SandboxError as error:
            self._notes.append(f"no patch: {error}")
            return
        run.patch(name).parent.mkdir(exist_ok=True)
        write_whole(run.patch(name), self._stage.mask.apply(patch.data)[0])
        self._notes += patch.notes
        self._patch = patch

    def _assess(self) -> None:
        """Ask the oracles of a task on a repository, however the turns ended: a score is part of the result."""
        if self._truth is None or not self._turns:
            return
        box = self._stage.box
        evidence = Evidence(
            frozen=self.workspace,
            changed=self._patch.names if self._patch else (),
            conversation=conversation_of(self.plan.run, [call.rid for call in self.calls]),
            workspace=box.workspace,
            home=box.home,
            offline=self.plan.options.network == "model",
        )
        try:
            self._graded = Graded((assess(self._truth, evidence),))
        except GraderError as error:
            self._graded = Graded(error=str(error))

    def _grade(self, task: Task) -> None:
        if not self.plan.graders:
            return
        given = GraderInput(
            input=task.prompt if len(task.prompts) == 1 else task.prompts,
            output=self._turns[-1].reply,
            hint=task.hint,
            metadata=dict(task.metadata),
            cwd=self.workspace,
            task_id=task.id,
            turns=len(self._turns),
            trajectory=to_builtins(self._trajectory()),
            references=task.references,
            changed=self._patch.names if self._patch else None,
            bench=self._bench(),
        )
        self._graded = self._graded.joined(run_graders(self.plan.graders, given))

    def _trajectory(self) -> Sequence[Step]:
        """Return the steps so far: from the wire, or as an adapter told them."""
        return self.row().trajectory

    def row(self) -> CaptureResult:
        """Return the session as a row of a result file, as it stands now.

        Raises ValueError or OSError when what an adapter told of its steps cannot be read.
        """
        run, result = self.plan.run, asdict(self._result(self.outcome()))
        conversation = conversation_of(run, result["request_ids"])
        told = () if conversation else told_steps(run, result)
        return capture_row(result, conversation, run.id, told)

    def _bench(self) -> SandboxBench | None:
        sandbox = self._around.bench
        if sandbox is None:
            return None
        return SandboxBench(sandbox, self.plan.options, self.workspace, self.plan.claim.session)

    def _save(self, outcome: Outcome | None) -> None:
        run = self.plan.run
        try:
            save_result(run, self._result(outcome))
        except OSError as error:
            self._infra = self._infra or f"{run.path} cannot be written: {error.strerror}: free some space"

    def _result(self, outcome: Outcome | None) -> SessionResult:
        plan = self.plan
        return SessionResult(
            **plan.identity(),
            started_at=round(self._started, 3),
            ended_at=round(self._ended, 3) if self._ended else None,
            verdict=outcome.verdict if outcome else None,
            reason=outcome.reason if outcome else None,
            abort_reason=self._abort,
            session_id=self._session_id,
            turns=tuple(
                TurnResult(t.number, t.prompt, t.returncode, t.duration_s, t.timed_out, t.reply, t.limit, t.waited_s)
                for t in self._turns
            ),
            calls=len(self.calls),
            prompt_tokens=total_tokens(self._tally.own_tokens, 0),
            completion_tokens=total_tokens(self._tally.own_tokens, 1),
            models=self._tally.by_model([call.rid for call in self.calls], plan.model) if self._ended else {},
            request_ids=tuple(call.rid for call in self.calls),
            graders=tuple(asdict(each) for each in self._graded.results),
            assessment=assessment_in(self._graded.results),
            cost_usd=self._budget.cost_usd if self._ended else None,
            waited_s=round(self._opened.lease.waiting.total_s, 3) if self._opened else 0.0,
            run_limit=self._budget.run_limit,
            patch=str(plan.run.patch(plan.claim.session).relative_to(plan.run.path)) if self._patch else None,
            changed_files=self._patch.files if self._patch else None,
            telemetry=self._telemetry,
            notes=(*self._notes, *(f"forwarded, not recorded: {each}" for each in self._forwarded())),
        )
