"""Tell another process of each session as it ends: a line of JSON into the pipe that AGENTCAP_TELL_FD names.

Loaded by `-p pytest_agentcap.finished`, from the commands that run pytest underneath.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Generator

import pytest

from pytest_agentcap.fixtures import SESSION
from pytest_agentcap.sandbox.base import SandboxError

VARIABLE = "AGENTCAP_TELL_FD"


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    session = item.stash.get(SESSION, None)
    if session is not None and report.when == "teardown":
        report.user_properties += [
            ("captures", str(session.plan.run.captures)),
            ("session", session.plan.claim.session),
        ]
        # A session that broke off before its sandbox stood has none.
        with contextlib.suppress(SandboxError):
            report.user_properties.append(("workspace", str(session.workspace)))
    return report


def pytest_configure(config: pytest.Config) -> None:
    from pytest_agentcap.distributed import is_worker

    if not is_worker(config):
        config.pluginmanager.register(Teller(int(os.environ[VARIABLE])), "agentcap-teller")


class Teller:
    """Write to a pipe; `fd` is inherited, and no agent or worker has it."""

    def __init__(self, fd: int) -> None:
        os.set_inheritable(fd, False)
        self._fd = fd

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        told = dict(report.user_properties)
        if report.when == "teardown" and "session" in told:
            self._tell({key: told[key] for key in ("captures", "session", "workspace") if key in told})
        elif report.when == "setup" and report.failed:
            self._tell({"problem": _reason(report.longreprtext) or f"{report.nodeid} could not begin"})

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._tell({"refused": _reason(report.longreprtext) or f"{report.nodeid} cannot be collected"})

    def _tell(self, told: dict[str, object]) -> None:
        # A pipe that nobody reads any more is how the command says that it has ended.
        os.write(self._fd, json.dumps(told).encode() + b"\n")


def _reason(text: str) -> str:
    """Return what pytest's report of a failure says was raised."""
    lines = [line for line in text.splitlines() if line.strip()]
    raised = [line.removeprefix("E").strip() for line in lines if line.startswith("E ")]
    return (raised or lines or [""])[0]
