"""What each column of a captures parquet holds: agentcap's, in its order, then what this project adds."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

_TEXT, _INT, _FLOAT, _BOOL = pa.string(), pa.int64(), pa.float64(), pa.bool_()


@dataclass(frozen=True, slots=True)
class Column:
    """Describe one column; times ending in `_ms` are milliseconds."""

    name: str
    type: pa.DataType
    meaning: str


COLUMNS = (
    Column("request_id", _TEXT, "the rid"),
    Column("model", _TEXT, "the model that the request asked for, without `@revision`; else the run's; never null"),
    Column("captured_at", _INT, "epoch seconds"),
    Column("task_id", _TEXT, "the task"),
    Column("turn", _INT, "from 1 on"),
    Column("request", _TEXT, "the request's body, JSON"),
    Column(
        "response",
        _TEXT,
        'the response\'s body, JSON; `{"stream":true,"raw":"…"}` for a stream; `{}` when there is none',
    ),
    Column("served_by", _TEXT, "the header `x-served-by`"),
    Column("served_build_info", _TEXT, "the header `x-build-info`"),
    Column("served_model", _TEXT, "the model that the response named"),
    Column("provider", _TEXT, "as in run.json"),
    Column("upstream_url", _TEXT, "the model server's URL"),
    Column("label", _TEXT, "`--label`"),
    Column("run_id", _TEXT, "the run directory's name"),
    Column("agent", _TEXT, "the agent"),
    Column("agent_version", _TEXT, "its pinned version"),
    Column("corpus", _TEXT, "the corpus that the task is of"),
    Column("session", _TEXT, "the task, trial and attempt that the call belongs to"),
    Column("trial", _INT, "which repetition of the task, from 1 on"),
    Column("attempt", _INT, "which try of the same trial, from 1 on"),
    Column("call_index", _INT, "the session's calls, counted from 1"),
    Column("api", _TEXT, "the wire API: chat, completions, responses, messages, embeddings or gemini"),
    Column("path", _TEXT, "as the agent sent it"),
    Column("query", _TEXT, "as the agent sent it"),
    Column("stream", _BOOL, "whether the response was a stream of events"),
    Column("status_code", _INT, "the HTTP status"),
    Column("complete", _BOOL, "whether the response came to its end"),
    Column("error", _TEXT, "as in the response file; `unreadable_response` when that cannot be read"),
    Column("started_at_ns", _INT, "epoch nanoseconds"),
    Column("first_byte_ms", _FLOAT, "from the arrival of the request"),
    Column("duration_ms", _FLOAT, "from the arrival of the request to the last byte of the response"),
    Column("request_bytes", _INT, "length of the body on the wire"),
    Column("response_bytes", _INT, "length of the body on the wire"),
    Column("prompt_tokens", _INT, "all input, cached or not, as the upstream reported it; null when it did not"),
    Column("completion_tokens", _INT, "all output, reasoning included; null likewise"),
    Column("verdict", _TEXT, "the session's"),
    Column("request_headers", _TEXT, "JSON, a list of `[name, value]`"),
    Column("response_headers", _TEXT, "the same"),
    Column("chunk_ms", pa.list_(_FLOAT), "when each piece of the response arrived"),
    Column("redacted", _INT, "replacements in both files"),
    Column("telemetry", _TEXT, "JSON: the model step, its tool spans, and what its turn and session used"),
    Column("chunk_bytes", pa.list_(_INT), "the length of each piece of the response; null where a secret was replaced"),
    Column("replayed_from", _TEXT, "the recorded call whose response was served again; null for a model's own answer"),
    Column("reissued_from", _TEXT, "the recorded call whose request was sent again by `agentcap reissue`"),
)
