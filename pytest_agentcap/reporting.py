"""What a user sees of it: header, JUnit properties, sections of failing tests, the table at the end."""

from __future__ import annotations

import os
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_agentcap.option_values import SCRIPTED
from pytest_agentcap.replay.settings import replayed_source
from pytest_agentcap.runs.order import last_attempts
from pytest_agentcap.settings import Settings

if TYPE_CHECKING:
    from pytest_agentcap.controller import Controller
    from pytest_agentcap.finishing import FinishedRun
    from pytest_agentcap.matrix import Extent
    from pytest_agentcap.overrides import Overrides
    from pytest_agentcap.rating import GateCheck
    from pytest_agentcap.session import AgentSession

FAILED_BY_VERDICT = "agentcap_failed_by_verdict"


def header(controller: Controller, taken: Sequence[str]) -> list[str]:
    """Return the lines at the start of a session that runs agents."""
    settings = controller.settings
    agents = ", ".join(f"{agent.name} {agent.version}" for agent in controller.agents)
    lines = [f"agentcap: {agents} -> {'; '.join(_where(settings, upstream) for upstream, _ in controller.upstreams)}"]
    for upstream, key in controller.upstreams:
        if key:
            whose = f"key of {upstream}" if settings.listed else "upstream's key"
            lines.append(f"agentcap: the {whose} comes from {key.source}")
    if settings.sandbox == "host":
        home = "with your home and environment, past the proxy" if settings.bypass else "in a temporary home"
        lines.append(f"agentcap: sandbox host: agents run on this machine, {home}, with no isolation")
    else:
        lines.append(f"agentcap: sandbox podman, network {settings.network} ({_reach(settings.network)})")
    lines += controller.told
    if taken:
        names = ", ".join(f"{name} (use --agentcap-{name[2:]})" for name in taken)
        lines.append(f"agentcap: taken by another plugin or a conftest.py: {names}")
    return lines


def _unpriced(settings: Settings) -> list[str]:
    if settings.prices is None:
        return []
    unknown = [model for model in settings.models if settings.prices.find(model) is None]
    return [
        f"agentcap: WARNING: --prices has no {model}: its cost is unknown, and no limit of cost holds it"
        for model in unknown
    ]


def _where(settings: Settings, upstream: str) -> str:
    if upstream == SCRIPTED:
        return "the scripted model"
    asked = ", ".join(target.id for target in settings.targets if target.upstream == upstream)
    if source := replayed_source(upstream):
        live = f", then {asked} at {settings.replay.upstream}" if settings.replay.upstream else ""
        return f"a replay of {source} ({settings.replay.mode}){live}"
    return f"{asked} at {upstream}"


def announce(settings: Settings, planned: Extent, overrides: Mapping[str, Overrides]) -> list[str]:
    """Say how much is about to run, before it does, and which corpora reach more than the options say."""
    agents, models = len(settings.agents), len(settings.targets)
    counts = [(planned.tasks, "task"), (agents, "agent"), (models, "model"), (settings.trials, "trial")]
    words = [_counted(*count) for count in counts]
    # With -k some cells of the matrix stay empty, and the product would be wrong.
    whole = planned.sessions == planned.tasks * agents * models * settings.trials
    said = f" = {' × '.join(words)}" if whole else f" of {', '.join(words)}"
    lines = [f"agentcap: {_counted(planned.sessions, 'session')}{said}, {_turns(settings, overrides)}"]
    asked = {
        str(Path(file).parent): own.network
        for file, own in overrides.items()
        if own.network not in (None, settings.network) and settings.sandbox == "podman"
    }
    lines += [f"agentcap: network {network} ({_reach(network)}) for {place}" for place, network in asked.items()]
    return lines + _unpriced(settings)


def _turns(settings: Settings, overrides: Mapping[str, Overrides]) -> str:
    counts = {settings.turns if own.turns is None else own.turns for own in overrides.values()} or {settings.turns}
    if 0 in counts:
        return "turns as the fixture says"
    return f"{' or '.join(map(str, sorted(counts)))} {'turn' if counts == {1} else 'turns'} each"


def _reach(network: str | None) -> str:
    return "the proxy only" if network == "model" else "the internet too"


def describe(report: pytest.TestReport, session: AgentSession, failure: BaseException | None = None) -> None:
    """Put a session's figures where JUnit and other plugins read them, and what happened where a failure shows it."""
    from pytest_agentcap.outcome import report_section

    outcome = session.outcome()
    plan = session.plan
    known: dict[str, Any] = {
        "run_id": plan.run.id,
        "agent": plan.agent.name,
        "model": plan.model,
        "task": plan.task.id,
        "trial": plan.trial,
        "attempt": plan.claim.attempt,
        "turns": len(outcome.turns),
        "calls": len(outcome.calls),
        "prompt_tokens": outcome.prompt_tokens,
        "completion_tokens": outcome.completion_tokens,
        "verdict": outcome.verdict,
        "captures": str(plan.run.captures),
    }
    report.user_properties += [(name, value) for name, value in known.items() if value is not None]
    if report.failed:
        # xdist carries plain attributes of a report to the controller.
        setattr(report, FAILED_BY_VERDICT, getattr(failure, "msg", None) == outcome.headline)
        report.sections.append(("agentcap", report_section(outcome)))


def summary_table(finished: Sequence[FinishedRun]) -> list[str]:
    """Return the table of runs: agent, model, tasks, calls, tokens, verdicts; cost and waiting where there was some."""
    counted = [result for done in finished for result in last_attempts(done.results)]
    more = {"cost": _cost} if any(result.get("cost_usd") is not None for result in counted) else {}
    more |= {"waited": _waited} if any(result.get("waited_s") for result in counted) else {}
    rows = [("agent", "model", "tasks", "sessions", "calls", "tokens in", "tokens out", *more, "verdicts")]
    for done in finished:
        results = last_attempts(done.results)
        if not results:
            continue
        first = results[0]
        # A session whose end could not be recorded was broken by the infrastructure.
        verdicts = Counter(result["verdict"] or "infra" for result in results)
        rows.append(
            (
                str(first["agent"]),
                str(first["model"]),
                str(len({(result["corpus"], result["task_id"]) for result in results})),
                str(len(results)),
                str(sum(_own_calls(result) for result in results)),
                _sum(results, "prompt_tokens"),
                _sum(results, "completion_tokens"),
                *(shown(results) for shown in more.values()),
                ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items(), key=_by_count)),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    numeric = range(2, len(rows[0]) - 1)
    return [
        "  ".join(
            cell.rjust(width) if column in numeric else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


@dataclass(slots=True)
class Pushed:
    """Tell what became of --push: lines that say what is where, and why it failed.

    `arguments` are what `agentcap export` takes to push the same way.
    """

    arguments: str
    lines: list[str] = field(default_factory=list)
    failed: str | None = None


def push_arguments(settings: Settings) -> str:
    """Return the settings that concern publishing as `agentcap export` takes them."""
    given = {"public": settings.public, "strict": settings.scan_strict, "redact": settings.redact}
    valued = {"push": settings.push, "license": settings.license_id, "scan-config": settings.scan_config}
    flags = [f"--{name}" for name, value in {**given, "no-scan": not settings.scan}.items() if value]
    return " ".join([*(f"--{name} {shlex.quote(str(value))}" for name, value in valued.items() if value), *flags])


def run_name(done: FinishedRun) -> str:
    """Name a run by its agent and model; by its id when it has no session."""
    return f"{done.results[0]['agent']}/{done.results[0]['model']}" if done.results else done.run.id


def write_summary(
    write: Callable[..., None],
    finished: Sequence[FinishedRun],
    pushed: Pushed | None = None,
    gates: Sequence[GateCheck] = (),
) -> None:
    """Write the table, where everything is, and the command that looks at it; `write(line, **markup)`."""
    from pytest_agentcap.rating import rate_lines

    for number, line in enumerate(summary_table(finished)):
        write(line, bold=number == 0)
    write("")
    for line in (line for done in finished if done.rates for line in rate_lines(run_name(done), done.rates)):
        write(line)
    for check in gates:
        write(f"gate     {check.line}", green=check.is_met, red=not check.is_met)
    for model, calls in sorted(_other_calls(finished).items()):
        write(f"captured, not counted above: {_counted(calls, 'call')} to {model}")
    earlier = sum(len(done.results) - len(last_attempts(done.results)) for done in finished)
    if earlier:
        write(f"kept, not counted above: {_counted(earlier, 'earlier attempt')}")
    for done in finished:
        write(f"run      {_shown(done.run.path)}")
        write(f"parquet  {_shown(done.parquet) if done.parquet else _no_parquet(done)}")
    for done in finished:
        for problem in done.problems:
            write(f"ERROR    {problem}", red=True)
        if done.problems:
            write(
                f"         the captures are kept; try again with: {_program()} export {_shown(done.run.path)}", red=True
            )
    for line in pushed.lines if pushed else ():
        write(f"push     {line}")
    if pushed and pushed.failed:
        runs = " ".join(_shown(done.run.path) for done in finished if done.parquet)
        write(f"ERROR    {pushed.failed}", red=True)
        write(f"         push it with: {_program()} export {runs} {pushed.arguments}", red=True)
    write(f"look at it with: {_program()} show {_shown(finished[-1].run.path)}")


def _own_calls(result: Mapping[str, Any]) -> int:
    """Return the calls to the task's model; all of them where nobody could tell them apart."""
    own = result.get("models", {}).get(result["model"])
    return int(own["calls"] if own else result["calls"])


def _other_calls(finished: Sequence[FinishedRun]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for result in (each for done in finished for each in last_attempts(done.results)):
        others = {name: use["calls"] for name, use in result.get("models", {}).items() if name != result["model"]}
        counts.update(others)
    return counts


def _no_parquet(done: FinishedRun) -> str:
    return "none: see below" if done.problems else "none: there were no captures"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _program() -> str:
    """Return how `agentcap` is called here: by its path in an environment that is not activated."""
    script = Path(sys.executable).parent / "agentcap"
    activated = os.environ.get("VIRTUAL_ENV") == sys.prefix or sys.prefix == sys.base_prefix
    return "agentcap" if activated or not script.exists() else _shown(script)


def _shown(path: Path) -> str:
    """Return a path as one would type it here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _sum(results: Sequence[Mapping[str, Any]], key: str) -> str:
    counted = [result[key] for result in results if result[key] is not None]
    return str(sum(counted)) if counted else "-"


def _cost(results: Sequence[Mapping[str, Any]]) -> str:
    known = [result["cost_usd"] for result in results if result.get("cost_usd") is not None]
    return "-" if not known else f"${sum(known):.4f}" + (" + unknown" if len(known) < len(results) else "")


def _waited(results: Sequence[Mapping[str, Any]]) -> str:
    return f"{sum(result.get('waited_s') or 0 for result in results):.1f} s"


def _by_count(entry: tuple[str, int]) -> tuple[int, str]:
    return -entry[1], entry[0]
