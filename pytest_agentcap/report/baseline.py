"""What a run is compared with: a run on this machine, or the figures of an earlier report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_agentcap.report.folder import AGGREGATE, AGGREGATE_FORMAT, task_row
from pytest_agentcap.report.outcomes import read_run
from pytest_agentcap.runs.layout import workspace_folder
from pytest_agentcap.runs.listing import TargetError, find_run


def read_rows(target: str) -> tuple[list[Mapping[str, Any]], list[str]]:
    """Read the rows of a run, a report's folder or its `run_aggregate.json`, and what of a run cannot be read.

    Raises TargetError naming a target that is none of these or has rows of several runs.
    """
    path = Path(target)
    if (path / AGGREGATE).is_file() or path.name == AGGREGATE:
        return _read_aggregate(path if path.name == AGGREGATE else path / AGGREGATE), []
    directory = find_run(workspace_folder(), target)
    if directory is None:
        raise TargetError(f"{target}: neither a run in {workspace_folder()} nor a report with {AGGREGATE}")
    run, faults = read_run(directory)
    return [task_row(outcome) for outcome in run.outcomes], faults


def _read_aggregate(path: Path) -> list[Mapping[str, Any]]:
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise TargetError(f"{path}: not the figures of a report: {error}") from error
    if not isinstance(data, dict) or data.get("format") != AGGREGATE_FORMAT:
        raise TargetError(f"{path}: not the figures of a report: its format is not {AGGREGATE_FORMAT}")
    rows: Sequence[Mapping[str, Any]] = data["tasks"]
    runs = sorted({str(row["run"]) for row in rows})
    if len(runs) > 1:
        raise TargetError(f"{path}: holds {len(runs)} runs ({', '.join(runs)}): compare reports of one run each")
    return list(rows)
