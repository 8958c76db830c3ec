"""The card of a dataset of derived data: what a row is, what it was made from, and how it was scanned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pytest_agentcap.publish.card import BEGIN, END, metadata_of, put_block, scan_lines, table
from pytest_agentcap.publish.destination import Destination
from pytest_agentcap.runs.masking import PLACEHOLDER

ROWS: Mapping[str, str] = MappingProxyType(
    {
        "sft": "One row is one conversation that no later call continues: `messages` and `tools`, as TRL takes them.",
        "dpo": "One row is a pair of conversations of one task, `chosen` from a trial that passed and `rejected` from "
        "one that failed, with the `prompt` that they share.",
        "sts": "One file is one thread of a session: a header line, then a line for each message.",
        "atif": "One file is one session as a trajectory in the Agent Trajectory Interchange Format.",
        "otlp": "One row is one session as an OTLP request: a span for the agent, for each call and each tool call.",
        "agenttrace": "One row is one session as AgentTrace 0.3.0 tells it: model steps, tool calls, telemetry.",
        "agentcap": "One folder is one run as agentcap keeps it: two files for each call, and `run.json`.",
    }
)
_FILES: Mapping[str, str] = MappingProxyType({"sts": "data/**/*.jsonl", "atif": "data/**/*.json"})


def derived_card(
    before: str | None, place: Destination, form: str, parts: Mapping[str, Mapping[str, Any]], license_id: str | None
) -> str:
    """Return the card of a derived dataset from what its parts tell of themselves.

    What somebody wrote outside of the marked block stays. Raises CardError as `captures_card` does.
    """
    tags = ["agentcap", "agentcap-derived", f"agentcap-{form}", *(["agent-traces"] if form == "sts" else [])]
    more: dict[str, Any] = {}
    if form != "agentcap":
        files = [{"split": "train", "path": _FILES.get(form, f"data/{form}-*.jsonl")}]
        more = {"configs": [{"config_name": "default", "data_files": files}]}
    return put_block(before, f"{place.base}: {form}", metadata_of(tags, license_id, **more), _block(place, form, parts))


def _block(place: Destination, form: str, parts: Mapping[str, Mapping[str, Any]]) -> str:
    told = list(parts.values())
    versions = ", ".join(sorted({str(part.get("agentcap_version")) for part in told}))
    redacted = sum(part.get("redacted") or 0 for part in told)
    rows = [
        [name, f"{part.get('files', 0):,}", f"{part.get('records', 0):,}", f"{part.get('bytes', 0):,}"]
        for name, part in sorted(parts.items())
    ]
    sections = [
        f"{ROWS[form]} Made with `agentcap export --format {form}` of "
        f"[pytest-agentcap](https://github.com/huggingface/pytest-agentcap) {versions} from recorded model calls.",
        "## What is in it\n\n" + table(["part of `data/`", "files", "records", "bytes"], rows),
        "## What it was made from\n\n" + table(["run or file", "agent", "model", "calls"], _sources(told)),
        "Where the calls themselves are published, `run_id` and `request_id` join them.",
        "## Secrets\n\n"
        + "\n".join(
            [
                *scan_lines([scan for part in told for scan in part.get("scans") or [None]]),
                f"- {redacted:,} value(s) were replaced by placeholders that start with `{PLACEHOLDER}`",
            ]
        ),
        "Prompts and answers were not checked for personal data; what models wrote falls under their own terms.",
    ]
    if form != "agentcap":
        repo = f"{place.owner}/{place.base}"
        snippet = f'from datasets import load_dataset\n\nrows = load_dataset("{repo}", split="train")'
        sections.append(f"## Reading it\n\n```python\n{snippet}\n```")
    return "\n\n".join([BEGIN, *sections, END])


def _sources(told: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    found = {str(source.get("name")): source for part in told for source in part.get("sources") or []}
    return [
        [name, *(str(source.get(key) if source.get(key) is not None else "?") for key in ("agent", "model", "calls"))]
        for name, source in sorted(found.items())
    ]
