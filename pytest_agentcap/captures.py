"""Captured requests for notebooks and scripts: by rid, out of run directories, parquet files and the Hub.

from pytest_agentcap.captures import load_request

body = load_request("hf://datasets/org/base-captures", "4f0c")
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_agentcap.conversation.files import HUB, find_files
from pytest_agentcap.conversation.read import read_call
from pytest_agentcap.conversation.records import CallRecord, record_of_capture, record_of_row
from pytest_agentcap.formats.chat_shape import shape_messages, shape_tools
from pytest_agentcap.runs.captures import Capture
from pytest_agentcap.runs.layout import RunDirectory, workspace_folder
from pytest_agentcap.runs.listing import find_run

_PREFIX = re.compile(r"[0-9a-f]{4,32}")


class UnknownRequest(LookupError):
    """Say which request ids a source does not hold, or which prefix fits several."""


@dataclass(frozen=True, slots=True)
class TemplateInputs:
    """Hold what a chat template takes: `messages`, and `tools`, None when the request offered none."""

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None


def load_request(source: str | Path, rid: str) -> Any:
    """Return the body of one captured request, parsed: what the agent sent.

    `source` is a run directory, its `captures` directory, a run id in the workspace, a captures parquet, a folder with
    such files, `hf://datasets/OWNER/NAME[@REVISION][/PATH]` or `OWNER/NAME` on the Hub. `rid` is a request id or its
    first digits, four or more. Raises ValueError when the source is none of these, UnknownRequest when it does not
    hold the request or several fit, OSError when a file or the Hub cannot be read.
    """
    return _body(_load(source, [rid])[rid])


def load_requests(source: str | Path, rids: Iterable[str]) -> dict[str, Any]:
    """Return the bodies of several requests by their whole ids, in the order asked for; raises as `load_request`."""
    wanted = list(rids)
    found = _load(source, wanted)
    return {found[rid].rid: _body(found[rid]) for rid in wanted}


def load_template_inputs(source: str | Path, rid: str) -> TemplateInputs:
    """Return one request as `apply_chat_template` takes it, whatever API it was made with; raises as `load_request`.

    Arguments of tool calls, which chat completions hold as JSON text, are objects here: templates go through their
    keys. System prompts of every API are messages.
    """
    request = read_call(_load(source, [rid])[rid]).request
    return TemplateInputs(shape_messages(request.messages), shape_tools(request.tools) or None)


def _body(record: CallRecord) -> Any:
    return json.loads(record.request)


def _load(source: str | Path, rids: list[str]) -> dict[str, CallRecord]:
    """Read the records of request ids or prefixes, by what was asked for."""
    for rid in rids:
        if not _PREFIX.fullmatch(rid):
            raise UnknownRequest(f"{rid!r} is no request id: 32 lower-case hex digits, or the first 4 of them or more")
    run = None if str(source).startswith(HUB) else find_run(workspace_folder(), str(source))
    if run:
        known = _choose((path.name.split(".")[0] for path in run.captures.glob("*.request.json")), rids, source)
        return {rid: _of_run(run, whole) for rid, whole in known.items()}
    files = find_files(source)
    try:
        with ExitStack() as stack:
            return _of_parquets([stack.enter_context(file.open()) for file in files], rids, source)
    except tuple({error for file in files for error in file.raises}) as error:
        raise OSError(f"{source}: {error}") from error


def _of_run(run: RunDirectory, rid: str) -> CallRecord:
    return record_of_capture(Capture(rid, run.captures), {"run_id": run.id})


def _choose(known: Iterable[str], asked: Iterable[str], source: str | Path) -> dict[str, str]:
    """Find the one request id that each prefix means."""
    ids = sorted(set(known))
    fitting = {prefix: [rid for rid in ids if rid.startswith(prefix)] for prefix in asked}
    missing = [prefix for prefix, found in fitting.items() if not found]
    if missing:
        raise UnknownRequest(f"{source} holds no request {', '.join(missing)}")
    for prefix, found in fitting.items():
        if len(found) > 1:
            raise UnknownRequest(f"{prefix} is ambiguous in {source}: {', '.join(found[:5])}")
    return {prefix: found[0] for prefix, found in fitting.items()}


def _of_parquets(files: list[Any], rids: list[str], source: str | Path) -> dict[str, CallRecord]:
    """Read the rows of request ids: the narrow column of all row groups first, then the groups that hold them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    places: dict[str, tuple[Any, int, int]] = {}
    for opened in files:
        try:
            file = pq.ParquetFile(opened)
            for group in range(file.num_row_groups):
                ids = file.read_row_group(group, columns=["request_id"]).column(0).to_pylist()
                places |= {rid: (file, group, at) for at, rid in enumerate(ids)}
        except (pa.ArrowException, IndexError) as error:
            raise ValueError(f"{source}: not a captures parquet: {error or 'no column request_id'}") from error
    records = {}
    for prefix, rid in _choose(places, rids, source).items():
        file, group, at = places[rid]
        row: Mapping[str, Any] = file.read_row_group(group).slice(at, 1).to_pylist()[0]
        records[prefix] = record_of_row(row)
    return records
