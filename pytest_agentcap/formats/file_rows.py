"""The files of a run directory as types, and the messages of headless adapters; their schemas are made from these.

Files of agentcap's own and of other versions have other fields beside these, and are read all the same.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from msgspec import UNSET, Struct, UnsetType

OptionalText: TypeAlias = str | None
Headers: TypeAlias = list[tuple[str, str]]


class ManifestTurn(Struct, frozen=True):
    """Hold one turn of a task in run.json; `duration_s` in seconds."""

    turn: int
    returncode: int | None
    duration_s: float | None


class ManifestTask(Struct, frozen=True):
    """Hold one session in run.json."""

    task_id: str
    prompt: str
    session_id: str | None
    completed_turns: int
    turns: list[ManifestTurn]
    session: str | UnsetType = UNSET
    corpus: str | UnsetType = UNSET
    trial: int | UnsetType = UNSET
    attempt: int | UnsetType = UNSET
    verdict: OptionalText | UnsetType = UNSET
    reason: OptionalText | UnsetType = UNSET
    calls: int | UnsetType = UNSET


class RunManifest(Struct, frozen=True):
    """Hold run.json; times are epoch seconds."""

    agent: str
    model: str
    provider: str
    upstream: str
    turns_per_task: int
    tasks: list[ManifestTask]
    followup: OptionalText | UnsetType = UNSET
    agent_version: str | UnsetType = UNSET
    trials: int | UnsetType = UNSET
    sandbox: str | UnsetType = UNSET
    network: OptionalText | UnsetType = UNSET
    label: str | UnsetType = UNSET
    agentcap_version: str | UnsetType = UNSET
    python: str | UnsetType = UNSET
    created_at: float | UnsetType = UNSET


class CaptureRequest(Struct, frozen=True):
    """Hold `<rid>.request.json`; `body` is the request as it was sent."""

    request_id: str
    captured_at: int
    upstream_url: str
    body: Any
    task_id: OptionalText | UnsetType = UNSET
    turn: int | UnsetType | None = UNSET
    body_bytes: int | UnsetType = UNSET
    session: OptionalText | UnsetType = UNSET
    corpus: OptionalText | UnsetType = UNSET
    trial: int | UnsetType | None = UNSET
    attempt: int | UnsetType | None = UNSET
    agent: OptionalText | UnsetType = UNSET
    label: OptionalText | UnsetType = UNSET
    call_index: int | UnsetType | None = UNSET
    api: str | UnsetType = UNSET
    method: str | UnsetType = UNSET
    path: str | UnsetType = UNSET
    query: str | UnsetType = UNSET
    request_headers: Headers | UnsetType = UNSET
    started_at_ns: int | UnsetType = UNSET
    request_bytes: int | UnsetType = UNSET
    undecoded: str | UnsetType = UNSET
    redacted: int | UnsetType = UNSET
    body_base64: str | UnsetType = UNSET


class CaptureResponse(Struct, frozen=True):
    """Hold `<rid>.response.json`; `raw` is a stream's text, `body` any other body."""

    request_id: str
    captured_at_resp: int
    stream: bool
    status_code: int | None
    upstream_fingerprint: dict[str, str]
    raw: Any = UNSET
    body: Any = UNSET
    body_bytes: int | UnsetType = UNSET
    response_headers: Headers | UnsetType = UNSET
    ended_at_ns: int | UnsetType = UNSET
    connected_ms: float | UnsetType | None = UNSET
    first_byte_ms: float | UnsetType | None = UNSET
    duration_ms: float | UnsetType | None = UNSET
    chunk_ms: list[float] | UnsetType = UNSET
    response_bytes: int | UnsetType = UNSET
    complete: bool | UnsetType = UNSET
    error: OptionalText | UnsetType = UNSET
    undecoded: str | UnsetType = UNSET
    redacted: int | UnsetType = UNSET
    raw_base64: str | UnsetType = UNSET
    body_base64: str | UnsetType = UNSET


class NamedValue(Struct, frozen=True, forbid_unknown_fields=True):
    """Hold a variable or a header."""

    name: str
    value: str


class StdioServer(Struct, frozen=True, tag_field="type", tag="stdio", forbid_unknown_fields=True):
    """Hold an MCP server that is a program."""

    name: str
    command: str
    args: list[str]
    env: list[NamedValue]


class HttpServer(Struct, frozen=True, tag_field="type", tag="http", forbid_unknown_fields=True):
    """Hold an MCP server that is reached by HTTP."""

    name: str
    url: str
    headers: list[NamedValue]


class Session(Struct, frozen=True, forbid_unknown_fields=True):
    """Hold a headless adapter's session."""

    id: str
    _meta: dict[str, Any] | UnsetType | None = UNSET


class JsonRpcError(Struct, frozen=True, forbid_unknown_fields=True):
    """Hold an error of JSON-RPC."""

    code: int
    message: str
    data: Any = UNSET


class JsonRpcRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Hold a request of JSON-RPC."""

    jsonrpc: Literal["2.0"]
    id: str | int
    method: str
    params: Any = UNSET


class JsonRpcResponse(Struct, frozen=True, forbid_unknown_fields=True):
    """Hold an answer of JSON-RPC: either `result` or `error`; `id` is null when the request could not be read."""

    jsonrpc: Literal["2.0"]
    id: str | int | None
    result: Any = UNSET
    error: JsonRpcError | UnsetType = UNSET
