"""One agent's session: its turns, its calls, its workspace, and how it ended."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_agentcap.agents.commands import agent_files, turn_command, variables_of
from pytest_agentcap.agents.left import export_trace, keep_trace, last_name, read_file
from pytest_agentcap.agents.output import read_reply, read_session_id
from pytest_agentcap.agents.templates import Variables
from pytest_agentcap.conversation.usage import usage_of
from pytest_agentcap.corpus.task import Task
from pytest_agentcap.grading.base import GraderError, GraderInput, GraderResult
from pytest_agentcap.grading.combine import run_graders
from pytest_agentcap.outcome import Outcome, Turn, judge, total_tokens
from pytest_agentcap.plan import SessionPlan, Surroundings
from pytest_agentcap.runs.captures import Capture, CaptureError
from pytest_agentcap.runs.layout import RunDirectory, write_whole
from pytest_agentcap.runs.masking import Mask
from pytest_agentcap.runs.results import SessionResult, TurnResult, save_result
from pytest_agentcap.sandbox.base import Command, SandboxError, SandboxSession

if TYPE_CHECKING:
    from pytest_agentcap.proxy.leases import Call, Lease

_OUTPUT_READ = 16 << 20
_TRACE_S = 60.0


@dataclass(slots=True)
class _Open:
    box: SandboxSession
    lease: Lease


class AgentSession:
    """Drive one agent through the turns of one session.

    `run` may be called with a task, which runs all turns, stops the agent and grades; or with prompts, one by one,
    which keeps the session open for more. The sandbox starts with the first of them.
    """

    def __init__(self, plan: SessionPlan, around: Surroundings) -> None:
        self.plan = plan
        self._around = around
        self._opened: _Open | None = None
        self._turns: list[Turn] = []
        self._graders: tuple[GraderResult, ...] = ()
        self._session_id: str | None = None
        self._abort: str | None = None
        self._infra: str | None = None
        self._grader_error: str | None = None
        self._notes: list[str] = []
        self._started = time.time()
        self._ended: float | None = None
        self._busy = False
        self._frozen: dict[int, Path] = {}
        self._tokens: dict[str, tuple[int | None, int | None]] = {}

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
            self._notes += self._opened.box.copy_out(self._opened.box.workspace, place)
            self._frozen[turn] = place
        return self._frozen[turn]

    def run(self, task: Task | str) -> Outcome:
        """Run a task to its end, or one more prompt; what breaks is in the outcome's verdict and reason."""
        self._busy = True
        try:
            if isinstance(task, str):
                self._open()
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
        fault = self._opened.lease.fault if self._opened else None
        verdict, reason = judge(
            self._turns, self.calls, self._infra or fault, self._abort, self._graders, self._grader_error
        )
        if verdict == "no_calls" and self._forwarded():
            reason = f"{reason}; not recorded: {', '.join(self._forwarded())}"
        return Outcome(
            verdict=verdict,
            reason=reason,
            turns=self.turns,
            calls=self.calls,
            graders=self._graders,
            run=self.plan.run,
            session=self.plan.claim.session,
            tokens=dict(self._tokens),
            abort_reason=self._abort,
            freeze=lambda: self.workspace,
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
            self._opened.box.stop()
            self._keep_trace()
        finally:
            self._around.proxy.revoke(self._opened.lease)
            try:
                self._around.pairs.finish(self._opened.lease.journal.path, self.plan.run.captures)
            except OSError as error:
                self._infra = self._infra or f"captures cannot be written: {error}"
            self._tokens = _count_tokens(self.plan.run, [call.rid for call in self.calls])

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
        around.pairs.follow(journal, plan.run.captures)
        try:
            box = around.sandbox.start(plan.claim.session, around.proxy, plan.options)
        except BaseException:
            around.proxy.revoke(lease)
            around.pairs.finish(journal, plan.run.captures)
            raise
        self._opened = _Open(box, lease)
        if plan.workspace:
            box.put_tree(plan.workspace, box.workspace)
        for path, data in agent_files(plan.agent, plan.model, box, lease.token):
            box.put(path, data)

    def _run_task(self, task: Task) -> None:
        scripted = self._around.scripted
        if scripted:
            scripted.learn(task)
        try:
            self._open()
            self._run_turns(task)
            self.stop()
            if self.outcome().verdict == "captured":
                self._grade(task)
        finally:
            if scripted:
                scripted.forget(task)

    def _run_turns(self, task: Task) -> None:
        prompts = list(task.prompts)
        total = max(len(prompts), self.plan.turns)
        for number in range(1, total + 1):
            prompt = prompts[number - 1] if number <= len(prompts) else self.plan.followup.prompt(number)
            if number > 1 and self._session_id is None:
                self._abort = "no-session-id" if self.plan.agent.command.next else "resume-not-supported"
                return
            turn = self._turn(prompt, self.plan.timeout_s(task))
            kind = "initial" if number == 1 else "follow-up"
            if turn.timed_out:
                self._abort = f"{kind}-turn-timeout"
            elif turn.returncode != 0:
                self._abort = f"{kind}-turn-failed"
            if self._abort:
                return

    def _turn(self, prompt: str, timeout_s: float) -> Turn:
        assert self._opened is not None
        box, lease = self._opened.box, self._opened.lease
        number = len(self._turns) + 1
        lease.turn = number
        agent, run, name = self.plan.agent, self.plan.run, self.plan.claim.session
        stdout, stderr = run.output(name, number, "out"), run.output(name, number, "err")
        command, self._session_id = turn_command(
            agent, self.plan.model, box, lease.token, prompt, number, self._session_id
        )
        completed = box.run(
            replace(command, stdout=stdout, stderr=stderr, timeout_s=timeout_s), lambda: self._around.on_change(self)
        )
        out, err = self._read_output(stdout), self._read_output(stderr)
        variables = self._variables()
        if self._session_id is None and agent.session.path:
            self._session_id = last_name(box, variables.render(agent.session.path), self._around.scratch)
        if self._session_id is None:
            self._session_id = read_session_id(agent.session, out, err)
        said = out
        if agent.reply.file:
            said = read_file(box, variables.render(agent.reply.file), self._around.scratch, _OUTPUT_READ)
        turn = Turn(
            number,
            prompt,
            read_reply(agent.reply, said),
            completed.exit_code,
            completed.timed_out,
            round(completed.duration_s, 3),
            err,
        )
        self._turns.append(turn)
        self._save(None)
        return turn

    def _read_output(self, path: Path) -> str:
        """Return the agent's output, without secrets, as it then also lies on disk."""
        masked, hits = self._mask().apply(path.read_bytes())
        if hits:
            write_whole(path, masked)
        return masked[-_OUTPUT_READ:].decode("utf-8", "replace")

    def _mask(self) -> Mask:
        assert self._opened is not None
        return Mask.of(self.plan.secrets, self._opened.lease.token)

    def _variables(self) -> Variables:
        assert self._opened is not None
        return variables_of(self.plan.model, self._opened.box, self._opened.lease.token, self._session_id or "")

    def _export_trace(self) -> None:
        """Have the log of an agent that keeps it in a database; the agent's own program prints it."""
        trace = self.plan.agent.trace
        if not trace.export or self._session_id is None or self._opened is None:
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
        self._notes += export_trace(self._opened.box, command, into, self._mask())

    def _keep_trace(self) -> None:
        assert self._opened is not None
        patterns = [self._variables().render(path) for path in self.plan.agent.trace.paths]
        into = self.plan.run.trace(self.plan.claim.session)
        self._notes += keep_trace(self._opened.box, patterns, into, self._around.scratch, self._mask())

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
        )
        try:
            self._graders = run_graders(self.plan.graders, given)
        except GraderError as error:
            self._grader_error = str(error)

    def _save(self, outcome: Outcome | None) -> None:
        plan = self.plan
        result = SessionResult(
            **plan.identity(),
            started_at=round(self._started, 3),
            ended_at=round(self._ended, 3) if self._ended else None,
            verdict=outcome.verdict if outcome else None,
            reason=outcome.reason if outcome else None,
            abort_reason=self._abort,
            session_id=self._session_id,
            turns=tuple(
                TurnResult(t.number, t.prompt, t.returncode, t.duration_s, t.timed_out, t.reply) for t in self._turns
            ),
            calls=len(self.calls),
            prompt_tokens=total_tokens(self._tokens, 0),
            completion_tokens=total_tokens(self._tokens, 1),
            request_ids=tuple(call.rid for call in self.calls),
            graders=tuple(asdict(each) for each in self._graders),
            notes=(*self._notes, *(f"forwarded, not recorded: {each}" for each in self._forwarded())),
        )
        try:
            save_result(plan.run, result)
        except OSError as error:
            self._infra = self._infra or f"{plan.run.path} cannot be written: {error.strerror}: free some space"


def _count_tokens(run: RunDirectory, rids: list[str]) -> dict[str, tuple[int | None, int | None]]:
    """Read what the upstream reported for each call: prompt and completion tokens, None where it told nothing."""
    found: dict[str, tuple[int | None, int | None]] = {}
    for rid in rids:
        capture = Capture(rid, run.captures)
        try:
            usage = usage_of(capture.request.head["api"], capture.response)
        except (CaptureError, FileNotFoundError):
            continue
        found[rid] = usage.prompt_tokens, usage.completion_tokens
    return found
