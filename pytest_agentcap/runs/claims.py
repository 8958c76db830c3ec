"""Names that sessions work under: unique in their run, whoever else works in it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.names import safe_name
from pytest_agentcap.runs.results import read_result


@dataclass(frozen=True, slots=True)
class Claim:
    """Give a session's file stem, and the number of times it was tried in this run, this one included."""

    session: str
    attempt: int


def claim_session(run: RunDirectory, task_id: str, trial: int, nodeid: str) -> Claim:
    """Reserve the result file of a session: `<task id>[-t2][-a2]`.

    The same test again is a higher attempt; another test over a task of the same id gets a hash of its node id.
    """
    base = safe_name(task_id) + (f"-t{trial}" if trial > 1 else "")
    other = f"{base}-{hashlib.blake2b(nodeid.encode(), digest_size=3).hexdigest()}"
    attempt = 1
    while True:
        name = base if attempt == 1 else f"{base}-a{attempt}"
        try:
            os.close(os.open(run.result(name), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
            return Claim(name, attempt)
        except FileExistsError:
            if base != other and not _is_of(run, name, nodeid):
                base, attempt = other, 1
            else:
                attempt += 1


def _is_of(run: RunDirectory, name: str, nodeid: str) -> bool:
    try:
        return read_result(run.result(name))["nodeid"] == nodeid
    except (ValueError, KeyError):
        # Claimed this moment and not written yet: one test never runs twice at once, so it is another one's.
        return False
