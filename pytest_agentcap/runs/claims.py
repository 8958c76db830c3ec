"""Names that sessions work under: unique in their run, whoever else works in it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.names import safe_name
from pytest_agentcap.runs.results import read_result


@dataclass(frozen=True, slots=True)
class Claim:
    """Give a session's file stem, and the number of times it was tried in this run, this one included."""

    session: str
    attempt: int


UNCLAIMED = Claim("", 0)


def possible_claims(run: RunDirectory, task_id: str, trial: int, nodeid: str) -> Iterator[Claim]:
    """Yield claims `<task id>[-t2][-a2]` to try in order; asking for the next one means that the last was taken.

    The same test again is a higher attempt; another test over a task of the same id gets a hash of its node id.
    """
    base = safe_name(task_id) + (f"-t{trial}" if trial > 1 else "")
    other = f"{base}-{hashlib.blake2b(nodeid.encode(), digest_size=3).hexdigest()}"
    attempt = 1
    while True:
        name = base if attempt == 1 else f"{base}-a{attempt}"
        yield Claim(name, attempt)
        if base != other and read_result(run.result(name))["nodeid"] != nodeid:
            base = other
        else:
            attempt += 1
