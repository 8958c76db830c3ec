"""A report as a folder: REPORT.md, run_aggregate.json, and for each run one file per session and what it left."""

from __future__ import annotations

import glob
import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytest_agentcap.conversation.session import Conversation
from pytest_agentcap.conversation.sources import Faults, read_run_directory
from pytest_agentcap.report.markdown import report_markdown
from pytest_agentcap.report.outcomes import ReportedRun, SessionOutcome
from pytest_agentcap.report.summary import by, leaderboard, summarize
from pytest_agentcap.report.task_file import metrics, task_file
from pytest_agentcap.report.transcripts import Event, event, session_events
from pytest_agentcap.runs.layout import write_whole
from pytest_agentcap.runs.names import safe_name
from pytest_agentcap.sandbox.base import SandboxError
from pytest_agentcap.sandbox.git import git, make_repository

AGGREGATE = "run_aggregate.json"
AGGREGATE_FORMAT = "agentcap-report-1"
_REPORT = "REPORT.md"
# Where a task on a repository has its answer, if the task does not say otherwise.
_ANSWERS = "eval_artifacts"
_CONFIGURATION = (
    *("agent", "agent_version", "model", "provider", "upstream", "turns_per_task", "followup", "trials", "sandbox"),
    *("network", "label", "created_at", "agentcap_version"),
)
_OF_MODEL = ("model", "provider", "upstream")


def write_report(runs: Sequence[ReportedRun], folder: Path, faults: Faults) -> Path:
    """Write the report of some runs into a folder and return the path of its REPORT.md.

    Files of an earlier report of the same runs are replaced. What cannot be read is told in `faults`.
    """
    for run in runs:
        place = folder / safe_name(run.directory.id)
        # What an earlier report told of a session that has another attempt now must not stay beside it.
        shutil.rmtree(place, ignore_errors=True)
        _write_run(run, place, faults)
    _write_json(folder / AGGREGATE, aggregate(runs))
    path = folder / _REPORT
    write_whole(path, report_markdown(runs).encode("utf-8", "surrogatepass"))
    return path


def aggregate(runs: Sequence[ReportedRun]) -> dict[str, Any]:
    """Return all figures of the report, for programs."""
    outcomes = [outcome for run in runs for outcome in run.outcomes]
    return {
        "format": AGGREGATE_FORMAT,
        "runs": [{"id": run.directory.id, **_configuration(run)} for run in runs],
        "overall": asdict(summarize(outcomes)),
        "groups": {name: asdict(summarize(group)) for name, group in by(outcomes, lambda each: each.group).items()},
        "leaderboard": [{"name": name, **asdict(told)} for name, told in leaderboard(outcomes)],
        "tasks": [task_row(outcome) for outcome in outcomes],
    }


def _write_run(run: ReportedRun, place: Path, faults: Faults) -> None:
    groups = by(run.outcomes, lambda each: each.group)
    _write_json(place / "results" / "run_config.json", {"run": _run(run), "model": _model(run)})
    write_whole(place / "results" / _REPORT, report_markdown([run]).encode("utf-8", "surrogatepass"))
    for group, outcomes in groups.items():
        started = (1e9 * at for each in outcomes if (at := each.result.get("started_at")) is not None)
        named = {"repo_id": group, "run_id": run.directory.id, "model": _model(run), "tasks_count": len(outcomes)}
        _log(place, group, [event("repo_started", min(map(int, started), default=None), **named)])
    waiting = {str(outcome.result.get("session")): outcome for outcome in run.outcomes}
    for conversation in read_run_directory(run.directory, faults, latest=True):
        outcome = waiting.pop(conversation.name, None)
        if outcome is not None:
            _write_session(run, place, outcome, conversation, faults)
            _log(place, outcome.group, session_events(conversation, outcome))
    for outcome in waiting.values():
        _write_session(run, place, outcome, None, faults)
    for group, outcomes in groups.items():
        rows = [{**task_row(outcome), "result_json": f"{_name(outcome)}.json"} for outcome in outcomes]
        told = {"repo": group, "summary": asdict(summarize(outcomes)), "tasks": rows}
        _write_json(place / "results" / safe_name(group) / "index.json", told)
        ended = (1e9 * at for each in outcomes if (at := each.result.get("ended_at")) is not None)
        _log(place, group, [event("repo_finished", max(map(int, ended), default=None), repo_id=group)])


def _name(outcome: SessionOutcome) -> str:
    return safe_name(outcome.task) + (f"-t{outcome.trial}" if outcome.trial > 1 else "")


def _log(place: Path, group: str, events: Iterable[Event]) -> None:
    path = place / "transcripts" / f"{safe_name(group)}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="ascii") as file:
        file.writelines(json.dumps(each) + "\n" for each in events)


def _write_session(
    run: ReportedRun, place: Path, outcome: SessionOutcome, conversation: Conversation | None, faults: Faults
) -> None:
    told, name = task_file(outcome, conversation), _name(outcome)
    artifacts = place / "artifacts" / safe_name(outcome.group) / name
    _write_json(place / "results" / safe_name(outcome.group) / f"{name}.json", told)
    if patch := outcome.result.get("patch"):
        _write_artifacts(run.directory.path / str(patch), outcome, artifacts, faults)
    # Last: an agent may have written a file of that name.
    _write_json(artifacts / "task_result.json", told)


def _write_artifacts(source: Path, outcome: SessionOutcome, artifacts: Path, faults: Faults) -> None:
    try:
        data = source.read_bytes()
        artifacts.mkdir(parents=True)
        write_whole(artifacts / "workspace.patch", data)
        answer = str((outcome.result.get("assessment") or {}).get("answer") or f"{_ANSWERS}/answer.json")
        if any(f" b/{name}".encode() in data for name in (f"{_ANSWERS}/", answer)):
            _write_answers(source, answer, artifacts)
    except (OSError, SandboxError) as error:
        faults.add(f"{source}: its files are not in the report: {error}")


def _write_answers(patch: Path, answer: str, artifacts: Path) -> None:
    """Write the files that a patch adds as the task's answer: regular ones alone, for an agent may add links."""
    with tempfile.TemporaryDirectory() as scratch:
        repository = Path(scratch, "answers")
        make_repository(repository)
        wanted = [f"--include={name}" for name in (f"{_ANSWERS}/*", glob.escape(answer))]
        git(repository, "apply", "--whitespace=nowarn", *wanted, "--", str(patch.resolve()))
        for file in sorted({repository / answer, *(repository / _ANSWERS).rglob("*")}):
            parts = file.relative_to(repository).parts
            if file.is_file() and not file.is_symlink():
                target = artifacts.joinpath(*(safe_name(part) for part in parts[parts[0] == _ANSWERS :]))
                target.parent.mkdir(parents=True, exist_ok=True)
                write_whole(target, file.read_bytes())


def task_row(outcome: SessionOutcome) -> dict[str, Any]:
    """Return one session's line of the figures."""
    named = {"run": outcome.run, "agent": outcome.agent, "model": outcome.model}
    return {**named, "repo": outcome.group, "task_id": outcome.task, "trial": outcome.trial, **metrics(outcome)}


def _configuration(run: ReportedRun) -> dict[str, Any]:
    return {name: run.manifest.get(name) for name in _CONFIGURATION}


def _run(run: ReportedRun) -> dict[str, Any]:
    """Return what a run was about, and was made with beside its model."""
    told = {name: value for name, value in _configuration(run).items() if name not in _OF_MODEL}
    corpora = dict.fromkeys(str(each.result.get("corpus")) for each in run.outcomes)
    return {"repos": list(by(run.outcomes, lambda each: each.group)), "task_set": ", ".join(corpora), **told}


def _model(run: ReportedRun) -> dict[str, Any]:
    """Return which model was asked, and how; what its agent asked for differently now and then is None."""
    sampling: Mapping[str, Sequence[Any]] = run.manifest.get("sampling") or {}
    once = {name: values[0] for name, values in sampling.items() if len(values) == 1}
    return {
        "provider": run.manifest.get("provider"),
        "model": run.manifest.get("model"),
        "base_url": run.manifest.get("upstream"),
        "temperature": once.get("temperature"),
        "max_output_tokens": once.get("max_tokens"),
    }


def _write_json(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Half a surrogate pair that a model wrote is no text in UTF-8: it is told as JSON's escape.
    write_whole(path, json.dumps(data, indent=2).encode() + b"\n")
