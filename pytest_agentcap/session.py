"""One agent's session: its turns, its calls, its workspace, and how it ended."""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_agentcap.agents.driver import Scene, driver_of
from pytest_agentcap.agents.images import image_paths
from pytest_agentcap.assessment import conversation_of, expected_by
from pytest_agentcap.budget import Budget
from pytest_agentcap.command_limit import CommandWatch
from pytest_agentcap.conversation.session import Conversation
from pytest_agentcap.corpus.task import Task
from pytest_agentcap.faults import UpstreamWatch
from pytest_agentcap.formats.eval_rows import CaptureResult
from pytest_agentcap.grading.truth import Truth
from pytest_agentcap.keeping import Frozen, export_own_trace, freeze_workspace, keep_patch, keep_traces
from pytest_agentcap.limits import Limits
from pytest_agentcap.outcome import Outcome, Turn, judge
from pytest_agentcap.plan import SessionPlan, Surroundings
from pytest_agentcap.provision import provide
from pytest_agentcap.runs.results import SessionResult, masked, save_result
from pytest_agentcap.sandbox.base import SandboxError
from pytest_agentcap.sandbox.patch import Baseline
from pytest_agentcap.sandbox.reaper import is_orphaned
from pytest_agentcap.sandbox.subfolder import InFolder
from pytest_agentcap.session_grading import ask_graders, ask_oracles
from pytest_agentcap.session_result import Progress, forwarded, result_of, row_of
from pytest_agentcap.tally import Tally
from pytest_agentcap.telemetry.monitor import Monitor
from pytest_agentcap.telemetry.session import session_telemetry
from pytest_agentcap.telemetry.stored import plain_telemetry
from pytest_agentcap.turns import Stage, prompt_of, run_turn

if TYPE_CHECKING:
    from pytest_agentcap.proxy.leases import Call, Lease
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
        self._so_far = Progress()
        self._busy = False
        self._frozen: dict[int, Frozen] = {}
        self._baseline = Baseline(None)
        self._monitor: Monitor | None = None
        self._said: Conversation | None = None
        self._budget = around.budget or Budget(Limits(), None, None, plan.run.captures, plan.model)
        self._replay: SessionReplay | None = None
        self._truth: Truth | None = None

    @property
    def turns(self) -> tuple[Turn, ...]:
        return tuple(self._so_far.turns)

    @property
    def calls(self) -> tuple[Call, ...]:
        return tuple(self._opened.lease.calls) if self._opened else ()

    @property
    def workspace(self) -> Path:
        """Return a copy of the workspace as it is now, on this machine; the agent cannot reach it.

        Raises SandboxError when the session has no sandbox (yet).
        """
        return self._freeze().folder

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
            self._so_far.broke(str(error))
        self._busy = False
        self._save(self.outcome())
        return self.outcome()

    def outcome(self) -> Outcome:
        """Return how the session stands now."""
        so_far = self._so_far
        fault = self._opened.lease.fault or self._opened.lease.halt if self._opened else None
        own = [call for call in self.calls if call.rid not in so_far.tally.others]
        broken, spent = so_far.infra or fault, self._budget.reached
        verdict, reason = judge(
            so_far.turns, own, broken, so_far.abort, so_far.graded, bypass=self.plan.bypass, used_up=spent
        )
        if verdict == "no_calls" and (others := forwarded(self._lease)):
            reason = f"{reason}; not recorded: {', '.join(others)}"
        return Outcome(
            verdict=verdict,
            reason=reason,
            turns=self.turns,
            calls=self.calls,
            graders=so_far.graded.results,
            run=self.plan.run,
            session=self.plan.claim.session,
            tally=so_far.tally,
            abort_reason=so_far.abort,
            freeze=lambda: self.workspace,
            difference=self._replay.difference if self._replay else (),
        )

    def stop(self) -> None:
        """End the agent, then its calls, and make their pair files; further turns are not possible."""
        so_far = self._so_far
        if so_far.ended is not None:
            return
        so_far.ended = time.time()
        if self._around.state and is_orphaned(self._around.state):
            so_far.broke("the pytest process that it ran for was killed")
        if self._opened is None:
            return
        try:
            if so_far.turns:
                so_far.notes += export_own_trace(self._opened, so_far.session_id)
            if self._monitor:
                self._monitor.closing()
            self._opened.box.stop()
            so_far.notes += keep_traces(self._opened, so_far.session_id)
            self._keep_patch()
        finally:
            self._around.proxy.revoke(self._opened.lease)
            if self._replay and self._around.replay:
                self._around.replay.close(self._opened.lease)
                so_far.notes.append(self._replay.note)
            try:
                self._around.pairs.finish(self._opened.lease.journal.path, self.plan.run.captures)
            except OSError as error:
                so_far.broke(f"captures cannot be written: {error}")
            so_far.tally = Tally.of(self.plan.run, [call.rid for call in self.calls], self.plan.model)
            so_far.notes += [so_far.tally.note] if so_far.tally.note else []
            self._budget.finish()
            so_far.notes += self._budget.notes
            self._said = self._conversation()
            told = session_telemetry(self._said, self._monitor, so_far.ended - so_far.started)
            so_far.telemetry = plain_telemetry(told)

    def _conversation(self) -> Conversation | None:
        """Return what its calls said: read once when it has stopped, and kept until it is closed."""
        return self._said or conversation_of(self.plan.run, [call.rid for call in self.calls])

    def close(self) -> None:
        """Stop, save and remove the sandbox whatever happened; a turn that was broken off makes it `infra`."""
        if self._busy:
            self._so_far.broke("the session was interrupted")
        try:
            self.stop()
        finally:
            try:
                self._save(self.outcome())
            finally:
                self._said = None
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
        self._baseline = provide(plan, box, lease.token, around.scratch, scripted=around.scripted is not None)

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
            self._grade(task, stands=self.outcome().verdict == "captured")
        finally:
            if scripted:
                scripted.forget(task)

    def _run_turns(self, task: Task) -> None:
        for number in range(1, max(len(task.prompts), self.plan.turns) + 1):
            if not self._may_go_on():
                return
            said = prompt_of(self.plan, task, self._so_far.turns)
            self._so_far.notes += [said.note] if said.note else []
            turn = self._turn(said.prompt, self.plan.timeout_s(task))
            kind = "initial" if number == 1 else "follow-up"
            if turn.timed_out:
                self._so_far.abort = f"{kind}-turn-timeout"
            elif turn.returncode != 0:
                self._so_far.abort = f"{kind}-turn-failed"
            if self._so_far.abort:
                return

    def _turn(self, prompt: str, timeout_s: float) -> Turn:
        stage, so_far = self._stage, self._so_far
        number = stage.lease.turn = len(so_far.turns) + 1
        with self._monitor.turn(number) if self._monitor else nullcontext():
            ended = run_turn(stage, prompt, number, so_far.session_id, timeout_s, lambda: self._around.on_change(self))
        so_far.session_id = ended.session_id
        so_far.broke(ended.fault)
        so_far.turns.append(ended.turn)
        self._save(None)
        return ended.turn

    def _may_go_on(self) -> bool:
        """Tell whether there can be another turn; why not is in the abort reason, by agentcap's names."""
        if self._so_far.turns:
            self._so_far.abort = self._so_far.abort or self._stage.driver.hindrance(self._so_far.session_id)
        return self._so_far.abort is None and self._budget.reached is None

    @property
    def _stage(self) -> Stage:
        assert self._opened is not None
        return self._opened

    @property
    def _lease(self) -> Lease | None:
        return self._opened.lease if self._opened else None

    def _freeze(self) -> Frozen:
        if self._opened is None:
            raise SandboxError("the session has no workspace: its sandbox was not started")
        turn = len(self._so_far.turns)
        if turn not in self._frozen:
            self._frozen[turn] = freeze_workspace(self._opened, turn)
            self._so_far.notes += self._frozen[turn].left_out
        return self._frozen[turn]

    def _keep_patch(self) -> None:
        """Keep what the session changed in its workspace; that it cannot be told is no failure of anybody's."""
        try:
            self._so_far.patch = keep_patch(self._stage, self._baseline, self._freeze())
        except SandboxError as error:
            self._so_far.notes.append(f"no patch: {error}")
            return
        self._so_far.notes += self._so_far.patch.notes

    def _grade(self, task: Task, *, stands: bool) -> None:
        """Ask the oracles however the turns ended, for a score is part of the result; graders only of what stands."""
        if self._truth is not None and self._so_far.turns:
            said, seen = self._conversation(), self._monitor.programs if self._monitor else ()
            self._so_far.graded = ask_oracles(self._truth, self._stage, self._so_far, self.workspace, said, seen)
        if self.plan.graders and stands:
            found = ask_graders(task, self._stage, self._so_far, self.workspace, self.row().trajectory)
            self._so_far.graded = self._so_far.graded.joined(found)

    def row(self) -> CaptureResult:
        """Return the session as a row of a result file, as it stands now.

        Raises ValueError or OSError when what an adapter told of its steps cannot be read.
        """
        return row_of(self.plan.run, self._result(self.outcome()), self._conversation())

    def _save(self, outcome: Outcome | None) -> None:
        run = self.plan.run
        try:
            save_result(run, self._result(outcome))
        except OSError as error:
            self._so_far.broke(f"{run.path} cannot be written: {error.strerror}: free some space")

    def _result(self, outcome: Outcome | None) -> SessionResult:
        return masked(result_of(self.plan, self._so_far, self._lease, self._budget, outcome), self.plan.mask)
