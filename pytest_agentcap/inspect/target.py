"""What `agentcap inspect` is asked to look at."""

from __future__ import annotations

from pathlib import Path

from pytest_agentcap.conversation.files import HUB, find_files, is_repository
from pytest_agentcap.inspect.calls import CallList
from pytest_agentcap.inspect.levels import FileLevel, Level, RequestLevel, RunLevel
from pytest_agentcap.inspect.source import ParquetSource, RunSource
from pytest_agentcap.runs.captures import Capture
from pytest_agentcap.runs.layout import workspace_folder
from pytest_agentcap.runs.listing import TargetError, find_call, find_run, summarize_runs


def resolve(target: str | None, *, picks_rid: bool = False) -> Level | Capture:
    """Return the list that a target names, or the call whose rid it is.

    The first that fits: nothing (the workspace), a `.parquet` file, `hf://…`, a run id, run directory or `captures`, a
    workspace, a folder with parquet files, `OWNER/NAME` on the Hub, a rid or its first digits. Raises TargetError, or
    ValueError, when there is none.
    """
    if target is None:
        return _workspace(workspace_folder(), picks_rid)
    path = Path(target)
    if target.startswith(HUB):
        return FileLevel(find_files(target), picks_rid)
    if path.suffix == ".parquet" and path.is_file():
        return RequestLevel(CallList(ParquetSource(find_files(path)[0])), picks_rid)
    run = find_run(workspace_folder(), target)
    if run:
        return RequestLevel(CallList(RunSource(run)), picks_rid)
    if path.is_dir():
        folder = workspace_folder(path)
        return _workspace(folder, picks_rid) if folder.is_dir() else FileLevel(find_files(path), picks_rid)
    call = find_call(workspace_folder(), target)
    if call:
        return call
    if is_repository(target):
        return FileLevel(find_files(target), picks_rid)
    raise TargetError(
        f"{target} is no run, call, workspace or parquet file in {workspace_folder().parent}, and neither "
        "hf://datasets/OWNER/NAME nor OWNER/NAME"
    )


def _workspace(folder: Path, picks_rid: bool) -> Level:
    runs = list(summarize_runs(folder))
    if not runs:
        raise TargetError(f"no runs in {folder}: pass a run, a workspace or a dataset, or set AGENTCAP_WORKSPACE")
    return RunLevel(runs, picks_rid)
