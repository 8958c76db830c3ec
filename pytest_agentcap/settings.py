"""The frozen settings of a pytest session, made from the options that are given."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from pytest_agentcap.limits import Limits
from pytest_agentcap.options import given_options
from pytest_agentcap.replay.settings import ReplaySettings, replayed_source
from pytest_agentcap.sandbox.tools import SET_UP
from pytest_agentcap.sharding import Shard
from pytest_agentcap.targets import ModelTarget, targets_of

if TYPE_CHECKING:
    from pytest_agentcap.prices import Prices


@dataclass(frozen=True, slots=True)
class Settings:
    """Hold what the options say; `upstream` is None where none was given, or where a list of models has its own.

    `targets` are the models with their servers, and `listed` says that they come from --models.
    """

    agents: tuple[str, ...]
    models: tuple[str, ...]
    targets: tuple[ModelTarget, ...]
    listed: bool
    upstream: str | None
    api_key: str | None
    turns: int
    followup: str
    turn_timeout_s: float | None
    trials: int
    limit: int | None
    sample: int | None
    seed: int
    shard: Shard | None
    sandbox: str
    network: str
    bypass: bool
    memory: str
    pids: int
    cpus: float
    disk: str
    workspace: str | None
    skills: Path | None
    tool_dir: Path | None
    graders: tuple[str, ...]
    grader_timeout_s: float
    judge_model: str | None
    judge_upstream: str | None
    fail_under: tuple[str, ...]
    results: Path | None
    append: bool
    mcp: Path | None
    label: str | None
    into: tuple[str, ...]
    resume: tuple[str, ...]
    force: bool
    retry_infra: int
    limits: Limits
    run_limits: Limits
    prices: Prices | None
    upstream_concurrency: int | None
    push: str | None
    public: bool
    license_id: str | None
    scan: bool
    scan_strict: bool
    scan_config: Path | None
    redact: bool
    mask: bool
    debug: bool
    replay: ReplaySettings

    @classmethod
    def of(cls, config: pytest.Config) -> Settings:
        """Read the settings of a pytest session: command line, then ini, then environment, then default.

        Raises pytest.UsageError naming the option.
        """
        given = given_options(config)
        for name in ("scan-strict", "scan-config", "redact"):
            if given["no-scan"] and given[name]:
                raise pytest.UsageError(f"--{name} needs the scan: leave out --no-scan")
        if given["append"] and not given["results"]:
            raise pytest.UsageError("--append needs --results FILE.jsonl")
        targets, upstream = targets_of(given)
        if given["bypass"] and given["sandbox"] != "host":
            raise pytest.UsageError("--bypass: agents run on this machine only: pass --sandbox host")
        if given["limit"] and given["sample"]:
            raise pytest.UsageError("--limit and --sample exclude each other: give one")
        if given["into"] and given["resume"]:
            raise pytest.UsageError("--into and --resume exclude each other: --resume leaves out what stands")
        if given["force"] and not (given["into"] or given["resume"]):
            raise pytest.UsageError("--force needs --into RUN or --resume RUN")
        return cls(
            agents=tuple(dict.fromkeys(given["agent"] or ())),
            models=tuple(dict.fromkeys(target.id for target in targets)),
            targets=targets,
            listed=bool(given["models"]),
            upstream=upstream,
            api_key=given["api-key"],
            turns=given["turns"] or 1,
            followup=given["followup"] or "continue",
            turn_timeout_s=given["turn-timeout"],
            trials=given["trials"] or 1,
            limit=given["limit"],
            sample=given["sample"],
            seed=given["seed"] or 0,
            shard=Shard.parse(given["shard"]) if given["shard"] else None,
            sandbox=given["sandbox"] or "podman",
            network=given["network"] or "model",
            bypass=bool(given["bypass"]),
            memory=given["memory"] or "4g",
            pids=given["pids"] or 1024,
            cpus=given["cpus"] or 2.0,
            disk=given["disk"] or "10g",
            workspace=_workspace(given["workspace"]),
            skills=_folder_of("skills", given["skills"], "skills/*/SKILL.md"),
            tool_dir=_folder_of("tool-dir", given["tool-dir"], "bin", "*/bin", SET_UP),
            graders=tuple(given["grader"] or ()),
            grader_timeout_s=given["grader-timeout"] or 120.0,
            judge_model=given["judge-model"],
            judge_upstream=given["judge-upstream"],
            fail_under=_gates(given["fail-under"] or (), given["trials"] or 1),
            results=Path(given["results"]).absolute() if given["results"] else None,
            append=bool(given["append"]),
            mcp=Path(given["mcp"]).absolute() if given["mcp"] else None,
            label=given["label"],
            into=tuple(dict.fromkeys(given["into"] or ())),
            resume=tuple(dict.fromkeys(given["resume"] or ())),
            force=bool(given["force"]),
            retry_infra=given["retry-infra"] or 0,
            limits=_limits(given, ""),
            run_limits=_limits(given, "run-"),
            prices=_prices(given),
            upstream_concurrency=given["upstream-concurrency"],
            push=given["push"],
            public=bool(given["public"]),
            license_id=given["license"],
            scan=not given["no-scan"],
            scan_strict=bool(given["scan-strict"]),
            scan_config=_scan_config(given["scan-config"]),
            redact=bool(given["redact"]),
            mask=not given["no-mask"],
            debug=bool(given["debug"]),
            replay=_replay_settings(given, targets),
        )

    @property
    def joining(self) -> tuple[str, tuple[str, ...]]:
        """Return the option that names runs to add sessions to, and the runs, of which there may be none."""
        return ("--resume", self.resume) if self.resume else ("--into", self.into)

    @property
    def model_names(self) -> tuple[str, ...]:
        """Return one name for each target: its model's id, and its label or host where another has the same id."""
        ids = [target.id for target in self.targets]
        return tuple(
            target.id
            if ids.count(target.id) == 1
            else f"{target.id}@{target.label or urlsplit(target.upstream).netloc}"
            for target in self.targets
        )


def _replay_settings(given: Mapping[str, Any], targets: tuple[ModelTarget, ...]) -> ReplaySettings:
    try:
        return ReplaySettings.of(given, any(replayed_source(target.upstream) for target in targets))
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error


def _limits(given: Mapping[str, Any], prefix: str) -> Limits:
    calls, tokens, cost = (given[f"{prefix}max-{name}"] for name in ("calls", "tokens", "cost"))
    return Limits(calls, tokens, cost, f"--{prefix}")


def _prices(given: Mapping[str, Any]) -> Prices | None:
    if given["prices"] is None:
        for name in ("max-cost", "run-max-cost"):
            if given[name]:
                raise pytest.UsageError(f"--{name} needs to know what models cost: pass --prices FILE")
        return None
    from pytest_agentcap.prices import Prices, PricesError

    try:
        return Prices.read(Path(given["prices"]))
    except PricesError as error:
        raise pytest.UsageError(f"--prices {error}") from error


def _gates(given: Sequence[str], trials: int) -> tuple[str, ...]:
    for text in given:
        k = re.match(r"pass[@^](\d+)=", text)
        if k and int(k[1]) > trials:
            raise pytest.UsageError(f"--fail-under {text}: needs --trials {k[1]} or more")
    return tuple(given)


def _workspace(given: str | None) -> str | None:
    """Return an absolute folder, or what names a repository as it was given."""
    if given is None or Path(given).is_dir():
        return str(Path(given).resolve()) if given else None
    from pytest_agentcap.sandbox.workspace import Repository

    try:
        Repository.parse(given, Path.cwd())
    except ValueError as error:
        raise pytest.UsageError(f"--workspace {given}: {error}") from error
    return given


def _folder_of(option: str, given: str | None, *holds: str) -> Path | None:
    """Return a folder that agents are to read, and that holds something of what they look for in it."""
    if given is None:
        return None
    folder = Path(given)
    if not folder.is_dir():
        raise pytest.UsageError(f"--{option} {given}: there is no such folder")
    if not any(path for pattern in holds for path in folder.glob(pattern)):
        raise pytest.UsageError(f"--{option} {given}: there is no {' and no '.join(holds)} in it")
    return folder.resolve()


def _scan_config(given: str | None) -> Path | None:
    if given is not None and not Path(given).is_file():
        raise pytest.UsageError(f"--scan-config {given}: there is no such file")
    return Path(given).resolve() if given else None
