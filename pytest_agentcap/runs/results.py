"""One file per session: how it stands while it runs, and how it ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pytest_agentcap.runs.layout import RunDirectory, create_whole, write_whole
from pytest_agentcap.runs.masking import Mask

FORMAT = "agentcap-result-1"
GOOD_VERDICTS = frozenset({"captured", "passed"})
_WRITTEN = ("prompt", "reason", "turns", "graders", "assessment", "notes", "hint", "metadata")


@dataclass(frozen=True, slots=True)
class TurnResult:
    """Tell what one turn was asked and how it ended; `duration_s` in seconds, `returncode` None when it was killed.

    `limit` says which limit of the sandbox was reached in it, `waited_s` for how long calls of it were held back.
    """

    turn: int
    prompt: str
    returncode: int | None
    duration_s: float
    timed_out: bool
    reply: str
    limit: str | None = None
    waited_s: float = 0.0


@dataclass(frozen=True, slots=True)
class SessionResult:
    """Hold what is known of one session; `verdict` is None while it runs. Times are epoch seconds.

    `models` has calls and tokens by the model that was asked for; the token counts beside it are the task's model's.
    `images` are the task's: `path` in its corpus, `media_type`, `sha256`. `assessment` is what the oracles of a task on
    a repository found. `fixtures` has the digest of each tree of files that was mounted, by its path in the sandbox.
    """

    session: str
    task_id: str
    index: int
    corpus: str
    source: str
    trial: int
    attempt: int
    agent: str
    agent_version: str
    model: str
    sandbox: str
    nodeid: str
    prompt: str
    started_at: float
    network: str | None = None
    workspace: str | None = None
    workspace_commit: str | None = None
    turns_planned: int | None = None
    ended_at: float | None = None
    verdict: str | None = None
    reason: str | None = None
    abort_reason: str | None = None
    session_id: str | None = None
    turns: tuple[TurnResult, ...] = ()
    calls: int = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    request_ids: tuple[str, ...] = ()
    graders: tuple[dict[str, Any], ...] = field(default=())
    assessment: Mapping[str, Any] | None = None
    patch: str | None = None
    changed_files: int | None = None
    telemetry: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    hint: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    corpus_hash: str | None = None
    grader_hashes: Mapping[str, str] = field(default_factory=dict)
    cost_usd: float | None = None
    waited_s: float = 0.0
    run_limit: bool = False
    images: tuple[Mapping[str, str], ...] = ()
    fixtures: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def completed_turns(self) -> int:
        return sum(turn.returncode == 0 for turn in self.turns)


def masked(result: SessionResult, mask: Mask) -> SessionResult:
    """Return a result without secrets in what was written to or by somebody; names stay: files are found by them."""
    fields = asdict(result)
    data, hits = mask.apply(json.dumps({name: fields[name] for name in _WRITTEN}).encode())
    if not hits:
        return result
    written: dict[str, Any] = json.loads(data)
    written["turns"] = tuple(TurnResult(**turn) for turn in written["turns"])
    written |= {name: tuple(written[name]) for name in ("graders", "notes")}
    return replace(result, **written)


def save_result(run: RunDirectory, result: SessionResult) -> None:
    """Write a session's result file, replacing the last state of it."""
    write_whole(run.result(result.session), _encoded(result))


def create_result(run: RunDirectory, result: SessionResult) -> bool:
    """Write the first state of a session's result file; False when somebody else has that session."""
    return create_whole(run.result(result.session), _encoded(result))


def _encoded(result: SessionResult) -> bytes:
    fields = {"format": FORMAT, **asdict(result), "completed_turns": result.completed_turns}
    return json.dumps(fields, indent=2).encode() + b"\n"


def read_result(path: Path) -> dict[str, Any]:
    """Read a result file of this or a newer version as plain data.

    Raises ValueError naming the file when it is no result.
    """
    try:
        data = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: not a result file: {error}") from error
    if not isinstance(data, dict) or not str(data.get("format", "")).startswith("agentcap-result-"):
        raise ValueError(f"{path}: not a result file: no format key")
    return data


def update_result(path: Path, **changes: Any) -> None:
    """Change single fields of a result file, whoever wrote it."""
    write_whole(path, json.dumps({**read_result(path), **changes}, indent=2).encode() + b"\n")
