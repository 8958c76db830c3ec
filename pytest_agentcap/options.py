"""Every option, its ini key, and what of them is given."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from pytest_agentcap.option_values import (
    count,
    destination,
    dollars,
    gate,
    judge_url,
    model_id,
    one_of,
    pattern,
    processors,
    seconds,
    server_url,
    shard,
    size,
    upstream_url,
    whole,
)
from pytest_agentcap.replay.settings import PACES

REPLAY_MODES = ("strict", "fallthrough", "prefix")
FOLLOWUPS = ("continue", "templates", "synthesized")


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
        one_of(*REPLAY_MODES),
        "MODE",
    ),
    Option("replay-upstream", "the model server that answers what was not recorded", server_url, "URL"),
    Option("replay-speed", "instant (default) or real, the recorded pace", one_of(*PACES), "PACE"),
    Option(
        "replay-ignore",
        "parts of a request's texts that do not count when it is looked for in a recording",
        pattern,
        "REGEX",
        repeatable=True,
    ),
    Option("fork-at", "replay up to this turn, from which on the model answers", count, "N"),
    Option("api-key", "the upstream's key; stays on this machine (environment: AGENTCAP_API_KEY)", metavar="KEY"),
    Option("turns", "turns per session (default 1)", count, "N"),
    Option("followup", f"what is said from the second turn on: {', '.join(FOLLOWUPS)}", one_of(*FOLLOWUPS)),
    Option("turn-timeout", "seconds a turn may take (default 1200)", seconds, "S"),
    Option("trials", "how often each task is repeated (default 1)", count, "K"),
    Option("limit", "run the first N tasks of each corpus, after -k", count, "N"),
    Option("sample", "run N tasks of each corpus chosen by --seed, after -k", count, "N"),
    Option("seed", "seed of --sample (default 0)", whole, "S"),
    Option(
        "shard", "run the I-th of N parts of all tests, or the one that a scheduler names: auto, auto/N", shard, "I/N"
    ),
    Option("sandbox", "where agents run: podman (default) or host (no isolation)", one_of("podman", "host")),
    Option("network", "what a sandbox reaches: model (default, the proxy only) or open", one_of("model", "open")),
    Option("bypass", "let adapters reach their model past the proxy; they have your home and environment", flag=True),
    Option("memory", "memory of one sandbox (default 4g)", size, "SIZE"),
    Option("pids", "processes of one sandbox (default 1024)", count, "N"),
    Option("cpus", "CPUs of one sandbox, in fractions too (default 2)", processors, "N"),
    Option("disk", "what the files written in one sandbox may have (default 10g)", size, "SIZE"),
    Option("workspace", "every session's working directory: a folder, or REPOSITORY@REF of git", metavar="DIR"),
    Option("skills", "folder of skills (skills/NAME/SKILL.md) for agents that look for some", metavar="DIR"),
    Option("tool-dir", "folder that agents can read, with its bin/ on their PATH", metavar="DIR"),
    Option("grader", "a file that defines grade, an executable, or NAME[:ARGUMENT]", metavar="PATH", repeatable=True),
    Option("grader-timeout", "seconds that each grader may take (default 120)", seconds, "S"),
    Option("judge-model", "the model of the grader llm-judge (environment: AGENTCAP_JUDGE_MODEL)", model_id, "ID"),
    Option(
        "judge-upstream",
        "its server (environment: AGENTCAP_JUDGE_UPSTREAM; default: --upstream)",
        judge_url,
        "URL",
    ),
    Option("fail-under", "fail unless a figure of each run reaches a number", gate, "NAME=N", repeatable=True),
    Option("results", "write rows of finished sessions there, as agent-eval-harness does", metavar="FILE.jsonl"),
    Option("append", "let --results add to its file", flag=True),
    Option("mcp", "a file of mcpServers for the agents that can take them", metavar="FILE"),
    Option("label", "text stored with every capture", metavar="TEXT"),
    Option("into", "add sessions to this run, as higher attempts of those it has", metavar="RUN", repeatable=True),
    Option("resume", "go on with this run: run what does not stand in it", metavar="RUN", repeatable=True),
    Option("force", "let --into and --resume add to a run that was made with something else", flag=True),
    Option("retry-infra", "how often a session that the infrastructure broke is tried again (default 0)", count, "N"),
    Option("max-calls", "model calls of one session", count, "N"),
    Option("max-tokens", "tokens of one session, in and out", count, "N"),
    Option("max-cost", "US dollars of one session, by --prices", dollars, "USD"),
    Option("run-max-calls", "model calls of a run, over all workers", count, "N"),
    Option("run-max-tokens", "tokens of a run, in and out", count, "N"),
    Option("run-max-cost", "US dollars of a run, by --prices", dollars, "USD"),
    Option("prices", "a file of what models cost", metavar="FILE"),
    Option("upstream-concurrency", "calls that an upstream gets at once, over all workers", count, "N"),
    Option("push", "publish captures and traces at the end of the session", destination, "OWNER/BASE"),
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


def given_options(config: pytest.Config) -> dict[str, Any]:
    """Return each option's value by its name, from the command line, else from the ini file; None for no value.

    Raises pytest.UsageError naming the ini file and key.
    """
    return {option.name: _given(config, option) for option in OPTIONS}


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
