"""The schema files of agent-eval-harness: how a headless program is called, and what its output means.

Keys, types and defaults are those of its version 0.12.2; unknown keys are left out there, and here.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from pytest_agentcap.agents.steps import StepType


class PromptWay(msgspec.Struct, frozen=True, rename="camel"):
    """Say how the prompt travels: behind a flag, as the last argument, or on standard input."""

    flag: str = ""
    stdin: bool = False
    stdin_format: Literal["text", "json"] = "text"


class OutputFlag(msgspec.Struct, frozen=True, rename="camel"):
    """Name the option that makes the program's output JSON lines; none when `flag` is empty."""

    flag: str
    value: str


class Resume(msgspec.Struct, frozen=True, rename="camel"):
    """Say how a session goes on: the option that names it, and where the output tells its id."""

    flag: str
    session_id_path: str = "$.session_id"


class Match(msgspec.Struct, frozen=True, rename="camel"):
    """Name what an event must have, and where."""

    path: str
    value: str


class Extract(msgspec.Struct, frozen=True, rename="camel"):
    """Say where a step's parts are. `input` and `output` are additions of this project."""

    content: str | None = None
    title: str | None = None
    status: str | None = None
    input: str | None = None
    output: str | None = None


class EventMapping(msgspec.Struct, frozen=True, rename="camel"):
    """Make steps of one type of the events that match."""

    match: Match
    emit_as: StepType
    extract: Extract = Extract()


class TypeMap(msgspec.Struct, frozen=True, rename="camel"):
    """Name the types of steps that an agent's own types are, where its events are steps already."""

    type_field: str = "type"
    type_values: dict[str, StepType] | None = None


class ResultSource(msgspec.Struct, frozen=True, rename="camel"):
    """Say which event ends a turn, and where its reply is."""

    match_path: str
    match_value: str
    content_path: str


class HistoryTemplate(msgspec.Struct, frozen=True, rename="camel"):
    """Say how earlier turns are told again: each by `turn_format`, after `system`."""

    turn_format: str
    system: str = ""


class HeadlessSchema(msgspec.Struct, frozen=True, rename="camel"):
    """Hold one schema file; `timeout` is in milliseconds. The output mode `text` is an addition of this project."""

    version: Literal[1]
    name: str
    command: tuple[str, ...]
    session_mode: Literal["stream", "iterative"]
    prompt: PromptWay
    output: OutputFlag
    result: ResultSource
    auto_approve: tuple[str, ...] = ()
    cwd_flag: str = ""
    resume: Resume | None = None
    output_mode: Literal["jsonpath", "passthrough", "text"] = "jsonpath"
    output_events: tuple[EventMapping, ...] = ()
    passthrough_type_map: TypeMap | None = None
    history_template: str | HistoryTemplate = "User: {{input}}\nAssistant: {{output}}"
    timeout: float | None = None
