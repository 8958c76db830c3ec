"""Every option, its ini key, its environment variable, and the frozen Settings they become."""

from __future__ import annotations

import argparse
import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import pytest

from pytest_agentcap.limits import Limits
from pytest_agentcap.replay.settings import PACES, ReplaySettings, recorded_model, replayed_source
from pytest_agentcap.sharding import Shard, ShardError, shard_text

if TYPE_CHECKING:
    from pytest_agentcap.prices import Prices

SCRIPTED = "scripted"
REPLAY_MODES = ("strict", "fallthrough", "prefix")
FOLLOWUPS = ("continue", "templates", "synthesized")
ROUTER = "https://router.huggingface.co"


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def _dollars(text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = math.nan
    if not 0 < amount < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of dollars above 0")
    return amount


def _processors(text: str) -> float:
    try:
        count = float(text)
    except ValueError:
        count = math.nan
    if not 0.01 <= count < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of CPUs from 0.01 on")
    return count


def _size(text: str) -> str:
    if not re.fullmatch(r"[1-9]\d*[bkmgt]?b?", text.lower()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 512m or 4g")
    return text


def model_id(text: str) -> str:
    if not re.fullmatch(r"[^\s\"'\\{}]+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a model id: no white space, quotes or braces")
    return text


def upstream_url(text: str) -> str:
    if replayed_source(text):
        return text
    if text != SCRIPTED and not is_base_url(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no upstream: give {SCRIPTED!r}, replay:SOURCE or a URL without query, such as {ROUTER} or "
            "http://127.0.0.1:8080"
        )
    return text.rstrip("/")


def _gate(text: str) -> str:
    from pytest_agentcap.analysis.gates import Gate

    try:
        return str(Gate.parse(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def judge_url(text: str) -> str:
    if not is_base_url(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no model server: give a URL without query")
    return text.rstrip("/")


def server_url(text: str) -> str:
    if not is_base_url(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no URL of a model server, such as http://127.0.0.1:8080")
    return text.rstrip("/")


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from None
    return text


def is_base_url(text: str) -> bool:
    """Tell whether a text is the URL of a model server, as a resolver and an HTTP client take it."""
    if not re.fullmatch(r"https?://[^/\s?#@]+(/[^\s?#]*)?", text):
        return False
    try:
        parts = urlsplit(text)
        # Half a bracket, a port that is no number, an empty label.
        return parts.port != 0 and bool((parts.hostname or "").encode("idna"))
    except ValueError:
        return False


def _shard(text: str) -> str:
    # As text, which travels to the workers of xdist: there `auto` was decided already.
    try:
        return shard_text(text)
    except ShardError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _destination(text: str) -> str:
    from pytest_agentcap.publish.destination import Destination, DestinationError

    try:
        return str(Destination.parse(text))
    except DestinationError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _one_of(*names: str) -> Callable[[str], str]:
    def choose(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(names)}")
        return text

    return choose


@dataclass(frozen=True, slots=True)
class Option:
    """Describe one option: `--agentcap-NAME`, `--NAME` where nobody else owns it, and the ini key `agentcap_NAME`.

    Without `short` there is no `--NAME`, because it is pytest's own.
    """

    name: str
    help: str
    type: Callable[[str], Any] = str
    metavar: str | None = None
    repeatable: bool = False
    flag: bool = False
    short: bool = True

    @property
    def shown(self) -> str:
        """Return the name that users are told."""
        return f"--{self.name}" if self.short else f"--agentcap-{self.name}"

    @property
    def dest(self) -> str:
        return "agentcap_" + self.name.replace("-", "_")

    @property
    def argparse(self) -> dict[str, Any]:
        shared: dict[str, Any] = {"dest": self.dest, "default": None, "help": self.help}
        if self.flag:
            return {**shared, "action": "store_true"}
        action = "append" if self.repeatable else "store"
        return {**shared, "action": action, "type": self.type, "metavar": self.metavar or self.name.upper()}


@dataclass(frozen=True, slots=True)
class ModelTarget:
    """Name a model and the server that has it, and say where its key comes from when not from the options."""

    id: str
    upstream: str
    api_key_env: str | None = None
    api_key: str | None = field(default=None, repr=False)
    label: str | None = None

    @property
    def key(self) -> str:
        """Return what tells this target from others of the same pytest session."""
        return f"{self.id}\n{self.upstream}\n{self.label or ''}"


OPTIONS = (
    Option(
        "agent",
        "run corpora with this agent: a name, an agent.toml, a headless adapter's file, adapter:COMMAND or cmd:COMMAND",
        repeatable=True,
    ),
    Option("model", "ask for this model", model_id, "ID", repeatable=True),
    Option("models", "a file of models: each with its upstream, its key's variable and its label", metavar="FILE"),
    Option(
        "upstream",
        "the model server: a URL, 'scripted' (the default when there is no --model), or what was recorded: replay:RUN, "
        "replay:FILE.parquet or replay:hf://datasets/OWNER/NAME",
        upstream_url,
    ),
    Option(
        "replay",
        "what becomes of a request that was not recorded: strict (default, the test fails), fallthrough (the model "
        "answers it) or prefix (the model answers from there on)",
        _one_of(*REPLAY_MODES),
        "MODE",
    ),
    Option("replay-upstream", "the model server that answers what was not recorded", server_url, "URL"),
    Option("replay-speed", "instant (default) or real, the recorded pace", _one_of(*PACES), "PACE"),
    Option(
        "replay-ignore",
        "parts of a request's texts that do not count when it is looked for in a recording",
        _pattern,
        "REGEX",
        repeatable=True,
    ),
    Option("fork-at", "replay up to this turn, from which on the model answers", _count, "N"),
    Option("api-key", "the upstream's key; stays on this machine (environment: AGENTCAP_API_KEY)", metavar="KEY"),
    Option("turns", "turns per session (default 1)", _count, "N"),
    Option("followup", f"what is said from the second turn on: {', '.join(FOLLOWUPS)}", _one_of(*FOLLOWUPS)),
    Option("turn-timeout", "seconds a turn may take (default 1200)", _seconds, "S"),
    Option("trials", "how often each task is repeated (default 1)", _count, "K"),
    Option("limit", "run the first N tasks of each corpus, after -k", _count, "N"),
    Option("sample", "run N tasks of each corpus chosen by --seed, after -k", _count, "N"),
    Option("seed", "seed of --sample (default 0)", _whole, "S"),
    Option(
        "shard", "run the I-th of N parts of all tests, or the one that a scheduler names: auto, auto/N", _shard, "I/N"
    ),
    Option("sandbox", "where agents run: podman (default) or host (no isolation)", _one_of("podman", "host")),
    Option("network", "what a sandbox reaches: model (default, the proxy only) or open", _one_of("model", "open")),
    Option("bypass", "let adapters reach their model past the proxy; they have your home and environment", flag=True),
    Option("memory", "memory of one sandbox (default 4g)", _size, "SIZE"),
    Option("pids", "processes of one sandbox (default 1024)", _count, "N"),
    Option("cpus", "CPUs of one sandbox, in fractions too (default 2)", _processors, "N"),
    Option("disk", "what the files written in one sandbox may have (default 10g)", _size, "SIZE"),
    Option("workspace", "every session's working directory: a folder, or REPOSITORY@REF of git", metavar="DIR"),
    Option("skills", "folder of skills (skills/NAME/SKILL.md) for agents that look for some", metavar="DIR"),
    Option("tool-dir", "folder that agents can read, with its bin/ on their PATH", metavar="DIR"),
    Option("grader", "a file that defines grade, an executable, or NAME[:ARGUMENT]", metavar="PATH", repeatable=True),
    Option("grader-timeout", "seconds that each grader may take (default 120)", _seconds, "S"),
    Option("judge-model", "the model of the grader llm-judge (environment: AGENTCAP_JUDGE_MODEL)", model_id, "ID"),
    Option(
        "judge-upstream",
        "its server (environment: AGENTCAP_JUDGE_UPSTREAM; default: --upstream)",
        judge_url,
        "URL",
    ),
    Option("fail-under", "fail unless a figure of each run reaches a number", _gate, "NAME=N", repeatable=True),
    Option("results", "write rows of finished sessions there, as agent-eval-harness does", metavar="FILE.jsonl"),
    Option("append", "let --results add to its file", flag=True),
    Option("mcp", "a file of mcpServers for the agents that can take them", metavar="FILE"),
    Option("label", "text stored with every capture", metavar="TEXT"),
    Option("into", "add sessions to this run, as higher attempts of those it has", metavar="RUN", repeatable=True),
    Option("resume", "go on with this run: run what does not stand in it", metavar="RUN", repeatable=True),
    Option("force", "let --into and --resume add to a run that was made with something else", flag=True),
    Option("retry-infra", "how often a session that the infrastructure broke is tried again (default 0)", _count, "N"),
    Option("max-calls", "model calls of one session", _count, "N"),
    Option("max-tokens", "tokens of one session, in and out", _count, "N"),
    Option("max-cost", "US dollars of one session, by --prices", _dollars, "USD"),
    Option("run-max-calls", "model calls of a run, over all workers", _count, "N"),
    Option("run-max-tokens", "tokens of a run, in and out", _count, "N"),
    Option("run-max-cost", "US dollars of a run, by --prices", _dollars, "USD"),
    Option("prices", "a file of what models cost", metavar="FILE"),
    Option("upstream-concurrency", "calls that an upstream gets at once, over all workers", _count, "N"),
    Option("push", "publish captures and traces at the end of the session", _destination, "OWNER/BASE"),
    Option("public", "make new repositories of --push public (default: private)", flag=True),
    Option("license", "the licence of datasets that --push makes", metavar="ID"),
    Option("no-scan", "let --push publish without a secret scan", flag=True),
    Option("scan-strict", "let --push refuse what may be a secret, not only what is one", flag=True),
    Option("scan-config", "the secret scanner's own configuration file", metavar="FILE"),
    Option("redact", "let --push publish placeholders in the place of secrets", flag=True),
    Option("no-mask", "store known secret values as they are", flag=True),
    Option("debug", "show each turn's command line and the agent's output as it comes", flag=True, short=False),
)


def add_long_options(parser: pytest.Parser) -> None:
    """Register what nobody else can own: the `--agentcap-` names and the ini keys."""
    group = parser.getgroup("agentcap", "agentcap: corpora of prompts, run by real agents")
    for option in OPTIONS:
        group.addoption(f"--agentcap-{option.name}", **option.argparse)
        kind: Literal["bool", "args", "string"] = "bool" if option.flag else "args" if option.repeatable else "string"
        parser.addini(option.dest, f"default of {option.shown}: {option.help}", type=kind, default=None)


def add_short_options(parser: pytest.Parser) -> list[str]:
    """Register the short names that are free; return those that another plugin or a conftest.py owns."""
    group = parser.getgroup("agentcap")
    taken = []
    for option in (each for each in OPTIONS if each.short):
        try:
            group.addoption(f"--{option.name}", **option.argparse)
        except (argparse.ArgumentError, ValueError):
            taken.append(f"--{option.name}")
    return taken


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
        given = {option.name: _given(config, option) for option in OPTIONS}
        models = tuple(dict.fromkeys(given["model"] or ()))
        for name in ("scan-strict", "scan-config", "redact"):
            if given["no-scan"] and given[name]:
                raise pytest.UsageError(f"--{name} needs the scan: leave out --no-scan")
        if given["append"] and not given["results"]:
            raise pytest.UsageError("--append needs --results FILE.jsonl")
        upstream = given["upstream"]
        if given["agent"] and not models and not given["models"] and (source := replayed_source(upstream)):
            models = (_recorded_model(source),)
        if given["models"]:
            targets = _listed_targets(given)
        else:
            upstream = _choose_upstream(upstream, bool(models)) if given["agent"] else upstream
            targets = tuple(ModelTarget(each, upstream or SCRIPTED) for each in models or (SCRIPTED,))
        if given["bypass"] and given["sandbox"] != "host":
            raise pytest.UsageError("--bypass: agents run on this machine only: pass --sandbox host")
        if given["limit"] and given["sample"]:
            raise pytest.UsageError("--limit and --sample exclude each other: give one")
        if given["into"] and given["resume"]:
            raise pytest.UsageError("--into and --resume exclude each other: --resume leaves out what stands")
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
            tool_dir=_folder_of("tool-dir", given["tool-dir"], "bin"),
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


def _recorded_model(source: str) -> str:
    try:
        return recorded_model(source)
    except (ValueError, OSError) as error:
        raise pytest.UsageError(str(error)) from error


def _replay_settings(given: dict[str, Any], targets: tuple[ModelTarget, ...]) -> ReplaySettings:
    try:
        return ReplaySettings.of(given, any(replayed_source(target.upstream) for target in targets))
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error


def _limits(given: dict[str, Any], prefix: str) -> Limits:
    calls, tokens, cost = (given[f"{prefix}max-{name}"] for name in ("calls", "tokens", "cost"))
    return Limits(calls, tokens, cost, f"--{prefix}")


def _prices(given: dict[str, Any]) -> Prices | None:
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


def _listed_targets(given: dict[str, Any]) -> tuple[ModelTarget, ...]:
    from pytest_agentcap.models import ModelsError, read_models

    for name in ("model", "upstream", "api-key"):
        if given[name]:
            raise pytest.UsageError(f"--models and --{name} exclude each other: the file says it for each model")
    try:
        return read_models(Path(given["models"]))
    except ModelsError as error:
        raise pytest.UsageError(f"--models {error}") from error


def agents_given(config: pytest.Config) -> bool:
    """Return whether a session runs agents, which is known before its other settings are."""
    return any(_given(config, option) for option in OPTIONS if option.name == "agent")


def _given(config: pytest.Config, option: Option) -> Any:
    value = config.getoption(option.dest)
    if value is not None:
        return value
    value = config.getini(option.dest)
    if value is None or option.flag:
        return value
    try:
        return [option.type(each) for each in value] if option.repeatable else option.type(value)
    except argparse.ArgumentTypeError as error:
        raise pytest.UsageError(f"{config.inipath}: {option.dest}: {error}") from error


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


def _folder_of(option: str, given: str | None, holds: str) -> Path | None:
    """Return a folder that agents are to read, and that holds what they look for in it."""
    if given is None:
        return None
    folder = Path(given)
    if not any(folder.glob(holds)):
        raise pytest.UsageError(f"--{option} {given}: there is no {holds} in it")
    return folder.resolve()


def _scan_config(given: str | None) -> Path | None:
    if given is not None and not Path(given).is_file():
        raise pytest.UsageError(f"--scan-config {given}: there is no such file")
    return Path(given).resolve() if given else None


def _choose_upstream(given: str | None, has_model: bool) -> str:
    if not has_model:
        if given not in (None, SCRIPTED):
            raise pytest.UsageError(f"--upstream {given} needs a model: pass --model ID")
        return SCRIPTED
    for name in ("AGENTCAP_UPSTREAM", "OPENAI_BASE_URL"):
        if given is None and os.environ.get(name):
            try:
                return upstream_url(os.environ[name])
            except argparse.ArgumentTypeError as error:
                raise pytest.UsageError(f"{name}: {error}") from error
    if given is None:
        raise pytest.UsageError(
            f"--model needs the server that has it: pass --upstream URL, such as {ROUTER} (Inference Providers, uses "
            "your Hugging Face token) or http://127.0.0.1:8080 (a local server)"
        )
    return given
