"""The one process that decides: it checks, makes run directories, and brings what workers did to its end."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from pytest_agentcap.agents.find import chosen_agent, unread_by_schemas
from pytest_agentcap.agents.spec import AgentSpec
from pytest_agentcap.budget import ledger_of, used_before
from pytest_agentcap.circumstances import circumstances, run_facts
from pytest_agentcap.credentials import Key, keys_of, known_secrets, secret_values
from pytest_agentcap.distributed import Assignment, run_key
from pytest_agentcap.finishing import FinishedRun, finish_run, remove_if_unused
from pytest_agentcap.joining import (
    Existing,
    JoinError,
    Standing,
    describe_run,
    invocation_of,
    match_runs,
    repeatable,
    take,
)
from pytest_agentcap.pins import Pins, pins_of
from pytest_agentcap.preflight import (
    PreflightError,
    check_folders,
    check_graders,
    check_push,
    check_sandboxes,
    check_upstream,
)
from pytest_agentcap.replay.settings import replayed_source
from pytest_agentcap.runs.attempts import NONE_SELECTED, read_plan, read_selected
from pytest_agentcap.runs.layout import RunDirectory, create_run, workspace_folder
from pytest_agentcap.runs.manifest import Manifest
from pytest_agentcap.runs.provider import provider_of
from pytest_agentcap.runs.recovery import Hold
from pytest_agentcap.sandbox.base import SandboxError
from pytest_agentcap.settings import Settings
from pytest_agentcap.targets import ModelTarget

if TYPE_CHECKING:
    from pytest_agentcap.results_file import ResultsFile
    from pytest_agentcap.sandbox.reaper import OwnerState
    from pytest_agentcap.sandbox.service import PodmanService
    from pytest_agentcap.telemetry.exits import ExitDaemon

Say = Callable[[str], None]


@dataclass(slots=True)
class Controller:
    """Own the session: its temporary state, podman's service, the run directories and their manifests."""

    settings: Settings
    agents: tuple[AgentSpec, ...]
    keys: tuple[Key | None, ...]
    command: tuple[str, ...] = ()
    state: OwnerState | None = None
    service: PodmanService | None = None
    exits: ExitDaemon | None = None
    manifests: dict[str, Manifest] = field(default_factory=dict)
    holds: list[Hold] = field(default_factory=list)
    standing: Standing = field(default_factory=Standing)
    told: list[str] = field(default_factory=list)
    files: list[ResultsFile] = field(default_factory=list)
    reported: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, settings: Settings, config: pytest.Config) -> Controller:
        """Resolve agents, and the keys of all models.

        Raises AgentError or KeyMissing.
        """
        agents = tuple(chosen_agent(name, settings, config.rootpath) for name in settings.agents)
        keys = keys_of(settings)
        return cls(settings, agents, keys, repeatable(config.invocation_params.args, known_secrets(*keys)))

    @property
    def upstreams(self) -> dict[tuple[str, Key | None], None]:
        """Return each upstream once, with its key."""
        return {(target.upstream, key): None for target, key in zip(self.settings.targets, self.keys, strict=True)}

    def start(self, say: Say) -> Assignment:
        """Check everything that can be checked now, and make the run directories.

        Raises pytest.UsageError with one line, and one more for each thing that podman lacks on this host. Whatever it
        raises, `close` is to be called.
        """
        from pytest_agentcap.proxy.ratelimit import clear_up
        from pytest_agentcap.sandbox.reaper import Owner, reap, state_root
        from pytest_agentcap.telemetry.exits import ExitDaemon

        try:
            for line in reap():
                say(line)
            clear_up(state_root())
            self.state = Owner.claim()
            for line in unread_by_schemas(self.settings.agents):
                say(f"agentcap: {line}")
            check_folders(self.settings, self.agents, self.state)
            check_graders(self.settings)
            for upstream, key in self.upstreams:
                check_upstream(upstream, key, "--models:" if self.settings.listed else "--upstream")
                check_push(self.settings, upstream)
            if self.settings.replay.upstream and any(replayed_source(upstream) for upstream, _ in self.upstreams):
                key = next(key for upstream, key in self.upstreams if replayed_source(upstream))
                check_upstream(self.settings.replay.upstream, key, "--replay-upstream")
            uri = self._start_podman(say)
            self.exits = ExitDaemon.start(self.state.folder)
            check_sandboxes(self.settings, self.agents, uri, self.state, say)
            opened = self._open_runs()
            self._open_results(opened)
            for run in opened.values():
                if ledger := ledger_of(self.state.folder, run, self.settings.run_limits):
                    ledger.open(used_before(run))
            runs = {key: str(run.path) for key, run in opened.items()}
        except (PreflightError, SandboxError, JoinError, OSError, ValueError) as error:
            lines = [str(error), *self._missing(error)]
            raise pytest.UsageError("\n".join(f"agentcap: {line}" for line in lines)) from error
        return Assignment(self.state.id, runs, uri)

    @property
    def others_have_all(self) -> bool:
        """Tell whether there are tests to run, and all of them are other shards'."""
        return any((read_selected(manifest.run) or NONE_SELECTED).sessions for manifest in self.manifests.values())

    def _open_results(self, runs: Mapping[str, RunDirectory]) -> None:
        """Begin the result file of --results: one for each run where there are several."""
        from pytest_agentcap.results_file import ResultsFile, begin_files, named_after

        if self.settings.results is None:
            return
        assert self.state is not None
        for run in runs.values():
            manifest = self.manifests[str(run.path)]
            path = self.settings.results if len(runs) == 1 else named_after(self.settings.results, manifest.facts)
            self.files.append(ResultsFile(path, run, self.state.folder, self.settings.trials))
        begin_files(self.files, self.settings.append)

    def _write_rows(self, *, hold: bool = False, last: bool = False) -> dict[str, str]:
        """Add what is finished to the result files; return why one of a run, by its path, cannot be written."""
        problems = {}
        for file in self.files:
            manifest = self.manifests[str(file.run.path)]
            try:
                file.add(manifest.outlines(), self.reported, last=last)
                if hold:
                    file.hold(manifest.outlines())
            except (OSError, ValueError) as error:
                problems[str(file.run.path)] = f"--results {file.path}: {error}"
        return problems

    def skipped(self, nodeid: str) -> None:
        """Keep of a planned test that pytest skipped it: nothing is missing there."""
        for manifest in self.manifests.values():
            if nodeid in read_plan(manifest.run):
                manifest.facts["skipped"] = sorted({nodeid, *manifest.facts.get("skipped", ())})

    def report(self, nodeid: str) -> None:
        """Bring manifests and result files up to date with a test that has ended.

        What cannot be read or written now, `finish` tries again and tells.
        """
        for manifest in self.manifests.values():
            with contextlib.suppress(OSError, ValueError):
                manifest.keep_up()
        self.reported.add(nodeid)
        self._write_rows()

    def finish(self, say: Say) -> list[FinishedRun]:
        """End what still runs, complete what dead workers left, write parquet; remove runs that hold nothing."""
        self._write_rows(hold=True)
        self._end(say)
        secrets = secret_values(self.settings, *self.keys)
        finished = [d for manifest in self.manifests.values() if (d := finish_run(manifest, secrets)) is not None]
        problems = self._write_rows(last=True)
        for done in finished:
            done.problems += [problem for path, problem in problems.items() if path == str(done.run.path)]
        return finished

    def close(self, say: Say) -> None:
        """Stop what `start` started, however far it came; after `finish` there is nothing left to do."""
        self._end(say)
        for manifest in self.manifests.values():
            remove_if_unused(manifest)
        while self.holds:
            self.holds.pop().release()

    def _start_podman(self, say: Say) -> str | None:
        if self.settings.sandbox != "podman":
            return None
        from pytest_agentcap.sandbox.requirements import unenforced_limits
        from pytest_agentcap.sandbox.service import PodmanService, podman_info

        assert self.state is not None
        self.service = PodmanService.start(self.state, say)
        with self.service.client() as client:
            for line in unenforced_limits(podman_info(client)):
                say(f"agentcap: {line}")
        return self.service.uri

    def _missing(self, error: Exception) -> list[str]:
        """Name what podman lacks here, when it is podman that failed; where it works it lacks nothing."""
        own = self.settings.sandbox == "podman" and sys.platform == "linux" and "CONTAINER_HOST" not in os.environ
        if not own or not isinstance(error, SandboxError) or shutil.which("podman") is None:
            return []
        from pytest_agentcap.sandbox.requirements import Host, missing_parts

        return missing_parts(Host.current(), self.settings.network)

    def _open_runs(self) -> dict[str, RunDirectory]:
        """Return the run of each agent and model, by run key: one that sessions are added to, or a new one."""
        settings, folder = self.settings, workspace_folder().absolute()
        option, named = settings.joining
        cells = {
            run_key(agent.key, target.key): (agent, target) for agent in self.agents for target in settings.targets
        }
        wanted = {key: pins_of(settings, agent, target) for key, (agent, target) in cells.items()}
        joined = match_runs(option, named, folder, wanted, force=settings.force)
        for existing in joined.values():
            self._join(option, existing)
        invocation = invocation_of(joined)
        self.standing = Standing.of(
            [existing.run for existing in joined.values()], deselect=bool(settings.resume), check=not settings.force
        )
        if joined:
            assert self.state is not None
            self.standing.write(self.state.folder)
        return {
            key: joined[key].run if key in joined else self._make_run(*cell, wanted[key], invocation)
            for key, cell in cells.items()
        }

    def _join(self, option: str, existing: Existing) -> None:
        self.holds.append(take(option, existing.run, secret_values(self.settings, *self.keys)))
        manifest = Manifest(existing.run, existing.continued())
        manifest.update()
        self.manifests[str(existing.run.path)] = manifest
        self.told += describe_run(option, existing)

    def _make_run(self, agent: AgentSpec, target: ModelTarget, pins: Pins, invocation: str) -> RunDirectory:
        provider = provider_of(target.upstream, target.id)
        # Absolute: tests change the working directory.
        settings = self.settings
        run = create_run(
            workspace_folder().absolute(), agent.name, provider, shard=str(settings.shard) if settings.shard else None
        )
        key = dict(zip(settings.targets, self.keys, strict=True))[target]
        facts = {
            **run_facts(settings, agent, target),
            **circumstances(settings, agent, target, key, self.service.uri if self.service else None),
            "invocation": invocation,
            "command": list(self.command),
            "pins": pins,
        }
        manifest = Manifest(run, facts)
        manifest.update()
        self.manifests[str(run.path)] = manifest
        self.holds.append(Hold.on(run))
        return run

    def _end(self, say: Say) -> None:
        from pytest_agentcap.sandbox.reaper import remove_containers

        if self.state is None:
            return
        try:
            self.state.announce_end()
            if self.exits is not None:
                self.exits.close()
            if self.service is not None:
                remove_containers(self.state.id)
                self.service.close()
            self.state.release()
        except (SandboxError, OSError) as error:
            say(f"agentcap: could not clean up everything: {error}")
        self.state = self.service = self.exits = None
