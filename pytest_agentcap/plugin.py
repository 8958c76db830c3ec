"""The plugin's hooks, each one delegation; nothing heavy is imported before an agent is asked for."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_agentcap import fixtures
from pytest_agentcap.distributed import WorkerStart, is_worker, take_over
from pytest_agentcap.fixtures import SESSION, SETTINGS
from pytest_agentcap.options import add_long_options, add_short_options, agents_given
from pytest_agentcap.settings import Settings

# An editable install gets no assertion rewriting for test functions that a plugin ships.
pytest.register_assert_rewrite("pytest_agentcap.testcase")

_TAKEN: pytest.StashKey[Sequence[str]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    add_long_options(parser)


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config, parser: pytest.Parser) -> Generator[None, Any, Any]:
    result = yield
    # After every other plugin and conftest.py had its say: whoever owns a short name keeps it.
    early_config.stash[_TAKEN] = add_short_options(parser)
    return result


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "corpus(path): parametrize the fixture 'task' with the tasks of this corpus")
    if is_worker(config):
        take_over(config)
    elif agents_given(config):
        from pytest_agentcap.envfile_session import read_for_session

        read_for_session(config)
    settings = Settings.of(config)
    config.stash[SETTINGS] = settings
    if settings.agents:
        from pytest_agentcap.standard_input import take_from_controller, take_standard_input

        (take_from_controller if is_worker(config) else take_standard_input)(config)
    config.pluginmanager.register(fixtures, "agentcap-fixtures")
    if settings.agents:
        if settings.debug:
            from pytest_agentcap.debug import open_screen

            open_screen(config)
        _register(config, settings)


def _register(config: pytest.Config, settings: Settings) -> None:
    from pytest_agentcap.matrix import Selection

    config.pluginmanager.register(Selection(settings), "agentcap-selection")
    if settings.retry_infra:
        from pytest_agentcap.retrying import InfraRetry

        config.pluginmanager.register(InfraRetry(settings.retry_infra), "agentcap-retry")
    if is_worker(config):
        from pytest_agentcap.ordering import GroupTeller

        config.pluginmanager.register(GroupTeller(), "agentcap-group-teller")
        return
    from pytest_agentcap.agents.spec import AgentError
    from pytest_agentcap.controller import Controller
    from pytest_agentcap.credentials import KeyMissing
    from pytest_agentcap.hooks import ControllerHooks

    try:
        controller = Controller.of(settings, config)
    except AgentError as error:
        option = "" if str(error).startswith("--") else "--agent: "
        raise pytest.UsageError(f"{option}{error}") from error
    except KeyMissing as error:
        raise pytest.UsageError(str(error)) from error
    hooks = ControllerHooks(controller, config, config.stash[_TAKEN])
    config.pluginmanager.register(hooks, "agentcap-controller")
    if config.pluginmanager.hasplugin("dsession") or config.pluginmanager.hasplugin("xdist"):
        from pytest_agentcap.ordering import GroupScheduling

        config.pluginmanager.register(WorkerStart(), "agentcap-worker-start")
        config.pluginmanager.register(GroupScheduling(), "agentcap-group-scheduling")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if not config.stash[SETTINGS].agents or not collection_path.is_dir():
        return None
    from pytest_agentcap.corpus.harbor import is_part_of_task

    return True if is_part_of_task(collection_path) else None


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> Generator[None, Any, Any]:
    collectors = yield
    if not parent.config.stash[SETTINGS].agents:
        return collectors
    from pytest_agentcap.collector import collect_corpus

    return collect_corpus(file_path, parent, collectors)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    settings = metafunc.config.stash[SETTINGS]
    if settings.agents:
        from pytest_agentcap.matrix import parametrize

        parametrize(metafunc, settings)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    session = item.stash.get(SESSION, None)
    if session is not None and report.when != "setup":
        from pytest_agentcap.reporting import describe

        describe(report, session, call.excinfo.value if call.excinfo else None)
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    settings = config.stash.get(SETTINGS, None)
    if settings is not None and not settings.agents and not is_worker(config):
        from pytest_agentcap.hints import corpora_without_agent

        for line in corpora_without_agent(config):
            terminalreporter.write_line(line, yellow=True)
