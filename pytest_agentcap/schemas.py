"""JSON Schemas (draft 2020-12) of the files that are read and written, made from the types that read and write them."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from pytest_agentcap.agents.headless_schema import HeadlessSchema
from pytest_agentcap.agents.spec import AgentSpec
from pytest_agentcap.formats import comparison_rows, eval_rows, file_rows, report_rows
from pytest_agentcap.runs.results import FORMAT, SessionResult

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_TYPES: dict[str, Any] = {
    "PromptCase": eval_rows.PromptCase,
    "GraderResult": eval_rows.GraderResult,
    "TrajectoryStep": eval_rows.Step,
    "CaptureResult": eval_rows.CaptureResult,
    "SummaryResult": eval_rows.SummaryResult,
    "TrialEntry": eval_rows.TrialEntry,
    "TrialResult": eval_rows.TrialResult,
    "CalibrationSample": report_rows.CalibrationSample,
    "BalanceAnalysis": report_rows.BalanceAnalysis,
    "ValidationResult": report_rows.ValidationResult,
    "McpServerConfig": file_rows.StdioServer | file_rows.HttpServer,
    "Session": file_rows.Session,
    "JsonRpcRequest": file_rows.JsonRpcRequest,
    "JsonRpcResponse": file_rows.JsonRpcResponse,
    "JsonRpcError": file_rows.JsonRpcError,
    "GraderInput": report_rows.GraderInput,
    "RawOutput": eval_rows.RawOutput,
    "ExtractedResult": eval_rows.ExtractedResult,
    "GradedResult": report_rows.GradedResult,
    "CalibrationLabel": report_rows.CalibrationLabel,
    "Agreement": report_rows.Agreement,
    "Ranking": report_rows.Ranking,
    "CaptureComparison": comparison_rows.CaptureComparison,
    "TrialsComparison": comparison_rows.TrialsComparison,
    "AgentDefinition": AgentSpec,
    "HeadlessAdapter": HeadlessSchema,
    "RunManifest": file_rows.RunManifest,
    "SessionResult": SessionResult,
    "CaptureRequest": file_rows.CaptureRequest,
    "CaptureResponse": file_rows.CaptureResponse,
}
NAMES = tuple(_TYPES)


def schema_of(name: str) -> dict[str, Any]:
    """Return a schema by its name; raises KeyError for an unknown one."""
    kind = _agent_definition() if _TYPES[name] is AgentSpec else _TYPES[name]
    schema = {"$schema": DRAFT, "title": name, **msgspec.json.schema(kind)}
    if name == "SessionResult":
        properties = schema["$defs"]["SessionResult"]["properties"]
        properties |= {"format": {"const": FORMAT}, "completed_turns": {"type": "integer"}}
    return schema


def _agent_definition() -> type[Any]:
    """Leave out where the file lies, which is known to who read it and which the file does not say."""
    told = [field for field in msgspec.structs.fields(AgentSpec) if field.name != "folder"]
    fields: list[Any] = [
        (each.name, each.type) if each.required else (each.name, each.type | UnsetType, UNSET) for each in told
    ]
    return msgspec.defstruct("AgentDefinition", fields, forbid_unknown_fields=True, kw_only=True)
