"""Which sessions of a run stand, and which are still to be run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pytest_agentcap.runs.layout import RunDirectory, write_whole
from pytest_agentcap.runs.results import read_result

_FORMAT = "agentcap-plan-1"


def stands(result: Mapping[str, Any]) -> bool:
    """Tell whether a session came to an end that is worth keeping: recorded, and not the infrastructure's failure.

    A session that a limit of its whole run ended was not tried to its end either.
    """
    ended = result.get("ended_at") is not None and result.get("verdict") not in (None, "infra")
    return ended and not result.get("run_limit")


def latest_attempts(results: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return of each node id the result of the highest attempt."""
    latest: dict[str, Mapping[str, Any]] = {}
    for result in results:
        nodeid = str(result["nodeid"])
        if nodeid not in latest or result["attempt"] > latest[nodeid]["attempt"]:
            latest[nodeid] = result
    return latest


def read_attempts(run: RunDirectory) -> dict[str, Mapping[str, Any]]:
    """Read of each node id of a run the result of the highest attempt.

    Raises ValueError naming a file that is no result.
    """
    return latest_attempts(read_result(path) for path in sorted(run.results.glob("*.json")))


@dataclass(frozen=True, slots=True)
class Selected:
    """Tell the tests of all shards by number and digest: shards that were cut from the same tests tell the same."""

    sessions: int
    sha256: str

    @classmethod
    def of(cls, nodeids: Iterable[str]) -> Selected:
        names = sorted(nodeids)
        return cls(len(names), hashlib.sha256("\n".join(names).encode("utf-8", "surrogatepass")).hexdigest())


NONE_SELECTED = Selected.of(())


def add_to_plan(run: RunDirectory, nodeids: Iterable[str], selected: Selected | None = None) -> None:
    """Note in a run's plan that these tests are to be in it; what is there already stays.

    The plan of a shard, which may have none of the tests, tells all that were `selected` too.
    """
    known, before = read_plan(run), read_selected(run)
    planned = sorted(known.union(nodeids))
    if len(planned) > len(known) or (selected and not before):
        told = before or selected
        document = {"format": _FORMAT, "nodeids": planned, **({"selected": asdict(told)} if told else {})}
        write_whole(run.plan, json.dumps(document, indent=1).encode() + b"\n")


def read_selected(run: RunDirectory) -> Selected | None:
    """Return what the plan of a shard tells of the tests of all shards; None where there are none.

    Raises ValueError naming the file when it is broken.
    """
    try:
        told = json.loads(run.plan.read_bytes()).get("selected")
        return Selected(int(told["sessions"]), str(told["sha256"])) if told else None
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{run.plan}: not a plan: {error!r}") from error


def read_plan(run: RunDirectory) -> frozenset[str]:
    """Return the node ids that a run is to have sessions of; none when nobody noted them.

    Raises ValueError naming the file when it is broken.
    """
    try:
        return frozenset(map(str, json.loads(run.plan.read_bytes())["nodeids"]))
    except FileNotFoundError:
        return frozenset()
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{run.plan}: not a plan: {error!r}") from error
