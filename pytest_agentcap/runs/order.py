"""The order in which a run's calls are told: by corpus, task, trial and attempt, then as they were made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from pytest_agentcap.runs.captures import CaptureError, find_captures, read_head
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.results import read_result


@dataclass(frozen=True, slots=True)
class CallOrder:
    """List a run's calls by rid, in order, and what could not be read, one line each."""

    rids: tuple[str, ...]
    errors: tuple[str, ...]


def last_attempts(results: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return of each test's task and trial the result of the highest attempt, in the order they came."""
    last: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for result in results:
        # Two tests of a run may have the same task.
        key = (result.get("corpus"), result.get("task_id"), result.get("trial"), result.get("nodeid"))
        if key not in last or _number(result.get("attempt"), 1) > _number(last[key].get("attempt"), 1):
            last[key] = result
    return list(last.values())


def order_calls(run: RunDirectory, results: Mapping[str, Mapping[str, Any]], *, latest: bool = False) -> CallOrder:
    """Put the calls in order; `results` are the run's, by session. Calls of an unknown task come last.

    With `latest`, calls of sessions that were tried again later are left out.

    Neighbours in this order share most of their text, which is what makes the parquet small.
    """
    superseded = results.keys() - {str(r.get("session")) for r in last_attempts(results.values())} if latest else set()
    keyed: list[tuple[tuple[Any, ...], str]] = []
    errors = []
    found = set()
    for capture in find_captures(run):
        found.add(capture.rid)
        path = capture.folder / f"{capture.rid}.request.json"
        try:
            head = read_head(path)
            key = _key(head, results, path.stat().st_size)
        except (CaptureError, OSError) as error:
            errors.append(str(error))
        else:
            if str(head.get("session")) not in superseded:
                keyed.append(((*key, capture.rid), capture.rid))
    for path in run.captures.glob("*.response.json"):
        if path.name.removesuffix(".response.json") not in found:
            errors.append(f"{path}: no request belongs to this response")
    return CallOrder(tuple(rid for _, rid in sorted(keyed)), tuple(sorted(errors)))


def results_by_session(run: RunDirectory) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Read the result files by session, and tell which ones are broken, one line each."""
    results, errors = {}, []
    for path in sorted(run.results.glob("*.json")):
        try:
            result = read_result(path)
        except (ValueError, OSError) as error:
            errors.append(str(error))
        else:
            results[path.stem] = result
    return results, errors


def _key(head: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]], size: int) -> tuple[Any, ...]:
    task, corpus = head.get("task_id"), head.get("corpus")
    index = results.get(str(head.get("session")), {}).get("index")
    started = head.get("started_at_ns")
    return (
        str(corpus or ""),
        _number(index, inf),
        task is None,
        str(task),
        _number(head.get("trial"), 1),
        _number(head.get("attempt"), 1),
        _number(head.get("call_index"), inf),
        _number(head.get("turn"), inf),
        started if isinstance(started, int) else _number(head.get("captured_at"), inf) * 1e9,
        # agentcap knows whole seconds only; within one, a conversation grows.
        size,
    )


def _number(value: Any, unknown: float) -> float:
    return value if isinstance(value, int | float) else unknown
