"""A session that the infrastructure broke is tried again in the same pytest session, as a higher attempt."""

from __future__ import annotations

import time

import pytest
from _pytest.runner import runtestprotocol

from pytest_agentcap.fixtures import SESSION

# What broke needs time to come back: so long before the first further attempt, twice as long before each later one.
FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0


class InfraRetry:
    """Run a test up to `times` times more while its session's verdict is `infra`; the last attempt is reported."""

    def __init__(self, times: int) -> None:
        self._times = times

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        if "agent_session" not in getattr(item, "fixturenames", ()):
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        for attempt in range(self._times):
            if not _is_broken(item):
                break
            time.sleep(min(FIRST_PAUSE_S * 2**attempt, _LONGEST_PAUSE_S))
            del item.stash[SESSION]
            reports = runtestprotocol(item, nextitem=nextitem, log=False)
        for report in reports:
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True


def _is_broken(item: pytest.Item) -> bool:
    session = item.stash.get(SESSION, None)
    return session is not None and session.outcome().verdict == "infra"
