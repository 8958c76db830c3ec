"""How well a session did a task on a repository: its outputs, its points, and what it did that it should not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_agentcap.conversation.records import record_of_capture
from pytest_agentcap.conversation.session import Conversation, read_conversation
from pytest_agentcap.corpus.task import Task
from pytest_agentcap.grading.base import GraderError, GraderResult
from pytest_agentcap.grading.scoring import Facts, score
from pytest_agentcap.grading.truth import NAME, OutputCheck, Truth, shortened
from pytest_agentcap.runs.captures import Capture, CaptureError
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.safety.audit import Audit, SafetyEvent, changes_as_events
from pytest_agentcap.safety.places import Places
from pytest_agentcap.safety.processes import programs_as_events
from pytest_agentcap.safety.toolcalls import Commands, audit_tools
from pytest_agentcap.sandbox.base import SandboxError
from pytest_agentcap.telemetry.attribution import Started

if TYPE_CHECKING:
    from pytest_agentcap.sandbox.workspace import Workspace

_MAX_SCRIPT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Evidence:
    """Hold what a session left: a copy of its workspace, the names of changed files, and what went over the wire.

    `workspace` and `home` are paths as the agent saw them; `offline` says that it was to have no network. `programs`
    were seen running below tool calls.
    """

    frozen: Path
    changed: tuple[str, ...]
    conversation: Conversation | None
    workspace: str
    home: str
    offline: bool
    programs: tuple[Started, ...] = ()


def expected_by(task: Task, workspace: Workspace | None) -> Truth | None:
    """Compute what a task on a repository expects, on the checkout that its workspace is to be a copy of.

    Raises SandboxError when that cannot be told: nothing is run then.
    """
    if task.repo is None or workspace is None:
        return None
    try:
        return Truth.of(task.repo, workspace.folder)
    except GraderError as error:
        raise SandboxError(f"what {task.source} expects cannot be told: {error}") from error


def conversation_of(run: RunDirectory, rids: Iterable[str]) -> Conversation | None:
    """Read a session's calls; None when there is none that can be read."""
    records = []
    for rid in rids:
        try:
            records.append(record_of_capture(Capture(rid, run.captures), {}))
        except (CaptureError, OSError):
            # Whoever reads the run is told which file it is.
            continue
    return read_conversation(records) if records else None


def assessment_in(graders: Iterable[GraderResult]) -> Mapping[str, Any] | None:
    """Return what the oracles found among all that graders said."""
    return next((result.outcome for result in graders if result.name == NAME and result.outcome), None)


def assess(truth: Truth, evidence: Evidence) -> GraderResult:
    """Return the verdict of the task's oracles; its outcome has outputs, score, safety events and failure reason.

    Raises GraderError when an oracle cannot tell.
    """
    started, task = time.monotonic(), truth.task
    checks = truth.check(evidence.frozen)
    commands, events = _watched(truth, evidence)
    total = sum(check.weight for check in checks)
    facts = Facts(
        partial=sum(check.weight for check in checks if check.ok) / total,
        commands=commands.used,
        commands_ok=commands.ok(event.rid for event in events if event.source == "telemetry"),
        violations=len(events),
    )
    points = score(task.scoring, facts)
    outcome: dict[str, Any] = {
        "repository": task.repository.id,
        "difficulty": task.difficulty,
        "success": facts.success,
        "partial_score": round(facts.partial, 4),
        "score": points.total,
        "profile": points.profile,
        "score_parts": dict(points.parts),
        "commands": commands.used,
        "commands_ok": facts.commands_ok,
        "max_commands": task.max_commands,
        "answer": task.answer,
        "outputs": [asdict(check) for check in checks],
        "safety_events": [asdict(event) for event in events],
        "failure_reason": failure_reason(checks, events),
    }
    return GraderResult(
        name=NAME,
        passed=facts.success,
        score=min(1.0, facts.partial),
        reasoning=_reasoning(checks),
        outcome=outcome,
        duration_s=time.monotonic() - started,
    )


def failure_reason(checks: Iterable[OutputCheck], events: Iterable[SafetyEvent]) -> str | None:
    """Return the key of the first output that is wrong, else `safety:<kind>` of the first event, else None."""
    wrong = (check.key for check in checks if not check.ok)
    return next(wrong, None) or next((f"safety:{event.kind}" for event in events), None)


def _watched(truth: Truth, evidence: Evidence) -> tuple[Commands, list[SafetyEvent]]:
    policy = truth.task.policy
    places = Places(evidence.workspace, evidence.home, policy.write_paths)
    audit = Audit(policy, places, evidence.offline, _reader(evidence))
    folder = places.resolve(truth.task.folder, evidence.workspace)
    uses = evidence.conversation.tool_uses if evidence.conversation else ()
    commands = audit_tools(uses, audit, folder)
    events = [*audit.events, *changes_as_events(evidence.changed, places, audit.events)]
    return commands, [*events, *programs_as_events(evidence.programs, policy, evidence.offline, events)]


def _reader(evidence: Evidence) -> Callable[[str], str | None]:
    """Return a way to look into files of the workspace by the path that the agent knows them by."""

    def look_up(path: str) -> str | None:
        if not path.startswith(f"{evidence.workspace}/"):
            return None
        place = evidence.frozen / path.removeprefix(f"{evidence.workspace}/")
        if not place.is_file() or place.stat().st_size > _MAX_SCRIPT_BYTES:
            return None
        return place.read_text("utf-8", "replace")

    return look_up


def _reasoning(checks: Iterable[OutputCheck]) -> str | None:
    wrong = [check for check in checks if not check.ok]
    if not wrong:
        return None
    first, others = wrong[0], f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    if first.problem:
        return f"{first.problem}{others}"
    return f"{first.key}: expected {shortened(first.expected)}, got {shortened(first.actual)}{others}"
