"""The controller's hooks, registered only when an agent is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from pytest_agentcap.distributed import ASSIGNMENT
from pytest_agentcap.envfile_session import env_file_lines
from pytest_agentcap.limits import NOT_STARTED
from pytest_agentcap.live import LiveLine, live_line
from pytest_agentcap.matrix import extent
from pytest_agentcap.overrides import overrides_by_file
from pytest_agentcap.reporting import (
    FAILED_BY_VERDICT,
    Pushed,
    announce,
    header,
    push_arguments,
    run_name,
    write_summary,
)
from pytest_agentcap.rootdir import rootdir_lines

if TYPE_CHECKING:
    from pytest_agentcap.controller import Controller
    from pytest_agentcap.finishing import FinishedRun
    from pytest_agentcap.rating import GateCheck


# Options that make a pytest session of something that runs no test.
_LISTING = ("collectonly", "showfixtures", "show_fixtures_per_test", "cacheshow")


class ControllerHooks:
    """Tie a Controller to one pytest session."""

    def __init__(self, controller: Controller, config: pytest.Config, taken: Sequence[str]) -> None:
        self._controller, self._config, self._taken = controller, config, taken
        self._finished: list[FinishedRun] = []
        self._started = self._announced = False
        # An exit status does not tell: it is 0 after a second Ctrl-C.
        self._broken: str | None = None
        self._pushed = Pushed(push_arguments(controller.settings))
        self._tests: Sequence[str] = ()
        self._line: LiveLine | None = None
        self._verdicts = 0
        self._gates: list[GateCheck] = []

    def pytest_report_header(self) -> list[str]:
        return [*header(self._controller, self._taken), *env_file_lines(self._config), *rootdir_lines(self._config)]

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        if any(getattr(self._config.option, name, None) for name in _LISTING):
            return
        assignment = self._controller.start(self._say)
        self._config.stash[ASSIGNMENT] = assignment
        self._started = True
        # The debug output would run into the line, and says more.
        self._line = None if self._controller.settings.debug else live_line(assignment.state.folder)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._announce([item.nodeid for item in session.items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        # The controller of xdist collects nothing itself: what the first worker found is what all of them found. It is
        # said when the first test starts, for until then xdist rewrites its line of workers.
        self._tests = ids

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self) -> None:
        self._announce(self._tests)
        self._erase()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport):  # type: ignore[no-untyped-def]
        self._erase()
        if report.when == "setup" and report.skipped and NOT_STARTED not in dict(report.user_properties):
            self._controller.skipped(report.nodeid)
        self._verdicts += report.failed and getattr(report, FAILED_BY_VERDICT, False)
        if report.when == "teardown" and self._started:
            self._controller.report(report.nodeid)
        return (yield)

    def pytest_keyboard_interrupt(self) -> None:
        self._broken = "the session was interrupted"

    def pytest_internalerror(self) -> None:
        self._broken = "pytest broke"

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, error: object) -> None:
        if error:
            self._broken = "a worker was lost"

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int):  # type: ignore[no-untyped-def]
        result = yield
        if self._started:
            self._finish(session)
        return result

    def pytest_unconfigure(self) -> None:
        # A failed or interrupted start never gets to sessionfinish, and a second Ctrl-C breaks that off.
        self._controller.close(self._say)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self._finished:
            terminalreporter.section("agentcap")
            write_summary(terminalreporter.write_line, self._finished, self._pushed, self._gates)

    def _finish(self, session: pytest.Session) -> None:
        if self._line:
            self._line.stop()
        self._finished = self._controller.finish(self._say)
        if self._controller.settings.fail_under:
            self._hold_gates(session)
        if session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and self._controller.standing.deselected:
            # Nothing was left to do, which is what --resume is for.
            session.exitstatus = pytest.ExitCode.OK
        if self._controller.settings.push and any(done.parquet for done in self._finished):
            self._pushed.failed = f"not pushed: {self._broken}" if self._broken else self._push()
        if session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and self._controller.others_have_all:
            session.exitstatus = pytest.ExitCode.OK
        if (self._pushed.failed or any(done.problems for done in self._finished)) and session.exitstatus in (0, 5):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _push(self) -> str | None:
        from pytest_agentcap.finishing import push_runs

        return push_runs(self._controller.settings, self._finished, self._pushed.lines.append)

    def _hold_gates(self, session: pytest.Session) -> None:
        """Have gates decide what verdicts would have decided; whatever else failed still fails the session."""
        from pytest_agentcap.rating import check_gates

        runs = {run_name(done): done.rates for done in self._finished if done.rates}
        self._gates = check_gates(self._controller.settings.fail_under, runs)
        whole = self._broken is None and not session.shouldfail and not session.shouldstop
        if not all(check.is_met for check in self._gates):
            if session.exitstatus in (0, 5):
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
        elif self._gates and whole and session.exitstatus == 1 and session.testsfailed == self._verdicts:
            session.exitstatus = pytest.ExitCode.OK

    def _announce(self, nodeids: Sequence[str]) -> None:
        if not self._started or self._announced:
            return
        settings = self._controller.settings
        planned = extent(nodeids, settings.agents, settings.model_names, settings.trials)
        if planned.sessions:
            self._announced = True
            for line in announce(settings, planned, overrides_by_file(nodeids, self._config.rootpath)):
                self._say(line)

    def _erase(self) -> None:
        if self._line:
            self._line.erase()

    def _say(self, line: str) -> None:
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.ensure_newline()
            reporter.write_line(line)
