"""What must be true of the captures after a soak, and after a kill."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from soak_clients import Tally

from pytest_agentcap.runs.captures import CaptureError, Half, read_half

_ERRORS = frozenset(
    {"client_gone", "upstream_refused", "upstream_reset", "upstream_timeout", "bad_gateway", "shutdown"}
)


@dataclass(slots=True)
class Found:
    """The captures of a soak by the call's own number, and what was wrong with any file."""

    requests: dict[str, str] = field(default_factory=dict)
    responses: dict[str, Half] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    endings: Counter[str] = field(default_factory=Counter)

    def response_of(self, number: str) -> Half | None:
        return self.responses.get(self.requests.get(number, ""))


def read_captures(folder: Path) -> Found:
    """Read all that is there; a file that is not whole is a fault."""
    found = Found()
    for path in sorted(folder.rglob("*.request.json")):
        half = _whole(path, found)
        if half:
            number = json.loads(half.text)["bench_id"]
            if number in found.requests:
                found.faults.append(f"call {number} was recorded twice")
            found.requests[number] = half.head["request_id"]
    for path in sorted(folder.rglob("*.response.json")):
        half = _whole(path, found)
        if half:
            found.responses[half.head["request_id"]] = half
            ending = "complete" if half.head["complete"] else str(half.head["error"])
            found.endings[ending] += 1
            if ending != "complete" and ending not in _ERRORS:
                found.faults.append(f"{path.name} ended in no way that there is: {ending}")
    unasked = found.responses.keys() - found.requests.values()
    found.faults += [f"response {rid} has no request" for rid in sorted(unasked)]
    return found


def check_drained(found: Found, tally: Tally, reached: list[str], folder: Path) -> list[str]:
    """Return what is wrong after a normal end: every call that reached the upstream has its pair."""
    faults = found.faults + tally.faults
    faults += [f"{path.name} was left behind" for path in folder.rglob("*.journal")]
    faults += [f"{path.name} was left behind" for path in folder.rglob(".*") if path.is_file()]
    faults += _unrecorded(found, reached)
    faults += [f"call {n} has no response file" for n, rid in found.requests.items() if rid not in found.responses]
    for number in sorted(tally.finished):
        response = found.response_of(number)
        if response and not response.head["complete"]:
            faults.append(f"call {number} was answered in full but is recorded as {response.head['error']}")
        if response and ["x-bench-id", number] not in response.head["response_headers"]:
            faults.append(f"call {number} is recorded with another call's answer")
    return faults


def check_whole(folder: Path) -> list[str]:
    """Return what is wrong with the files that a killed proxy left, before anybody finishes its journals."""
    found = Found()
    for path in sorted(folder.rglob("*.json")):
        _whole(path, found)
    return found.faults


def check_killed(found: Found, tally: Tally, reached: list[str], clients: int) -> list[str]:
    """Return what is wrong after kill -9, once the journals are finished: only answers in flight may be missing."""
    faults = found.faults + _unrecorded(found, reached)
    open_calls = len(found.requests) - len(found.responses)
    if open_calls > clients:
        faults.append(f"{open_calls} calls have no response file, but at most {clients} were in flight")
    for number in sorted(tally.finished):
        response = found.response_of(number)
        if not (response and response.head["complete"]):
            faults.append(f"call {number} was answered in full but its answer is not recorded as complete")
    return faults


def _unrecorded(found: Found, reached: list[str]) -> list[str]:
    return [f"call {number} went upstream unrecorded" for number in reached if number not in found.requests]


def _whole(path: Path, found: Found) -> Half | None:
    try:
        half = read_half(path)
        json.loads(half.text)
    except (CaptureError, ValueError) as error:
        found.faults.append(f"{path.name} is not whole: {error}")
        return None
    return half
