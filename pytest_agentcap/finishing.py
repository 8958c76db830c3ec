"""The end of a session: what dead workers left is completed, parquet written, and what was captured published."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import to_builtins

from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.manifest import Manifest
from pytest_agentcap.runs.pairs import finish_journals
from pytest_agentcap.runs.recovery import close_results
from pytest_agentcap.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_agentcap.analysis.rates import RunRates


@dataclass(slots=True)
class FinishedRun:
    """Tell what the end of the session made of one run; `problems` are lines that make the exit status non-zero."""

    run: RunDirectory
    results: list[dict[str, Any]] = field(default_factory=list)
    parquet: Path | None = None
    problems: list[str] = field(default_factory=list)
    rates: RunRates | None = None


def finish_run(manifest: Manifest, secrets: tuple[str, ...]) -> FinishedRun | None:
    """Complete a run and write its parquet; remove it, and return None, when it holds nothing."""
    run = manifest.run
    if remove_if_unused(manifest):
        return None
    done = FinishedRun(run)
    # Each step is worth having when another fails, whatever it fails of: the captures are there and can be exported.
    for step in (
        lambda: finish_journals(run.captures, secrets),
        lambda: close_results(run),
        lambda: _export(done),
        lambda: _rate(done, manifest),
        lambda: manifest.update(),
        lambda: done.results.extend(manifest.results()),
    ):
        try:
            step()
        except Exception as error:
            done.problems.append(f"{run.id}: {type(error).__name__}: {error}")
    return done


def _rate(done: FinishedRun, manifest: Manifest) -> None:
    from pytest_agentcap.analysis.rates import rates_of

    done.rates = rates_of(manifest.results())
    manifest.facts["rates"] = to_builtins(done.rates)


def _export(done: FinishedRun) -> None:
    if not any(done.run.captures.glob("*.request.json")):
        return
    from pytest_agentcap.publish.parquet import write_parquet

    report = write_parquet(done.run)
    done.parquet = report.path
    done.problems += [f"{done.run.id}: {error}" for error in report.errors]


def remove_if_unused(manifest: Manifest) -> bool:
    """Remove a run that no session has claimed a place in; tell whether it is gone.

    A shard's stays: its manifest tells what is missing, or that there was nothing to do.
    """
    run = manifest.run
    if not run.path.exists():
        return True
    if any(run.results.iterdir()) or ("shard" in manifest.facts and run.plan.exists()):
        return False
    for place in (run.captures, run.sessions, run.results):
        place.rmdir()
    run.manifest.unlink(missing_ok=True)
    run.plan.unlink(missing_ok=True)
    run.path.rmdir()
    return True


def push_runs(settings: Settings, finished: Sequence[FinishedRun], say: Callable[[str], None]) -> str | None:
    """Publish what was captured, and say where it is; return in one line why that failed."""
    from pytest_agentcap.publish.destination import Destination
    from pytest_agentcap.publish.gate import GateOptions, SecretGate
    from pytest_agentcap.publish.publisher import publish_runs
    from pytest_agentcap.publish.push import PushOptions

    place = Destination.parse(str(settings.push))
    try:
        options = PushOptions(settings.public, settings.license_id, keep_card=settings.shard is not None)
        scan = GateOptions(settings.scan_strict, settings.redact, config=settings.scan_config)
        gate = SecretGate.open(scan, say) if settings.scan else None
        with warnings.catch_warnings():
            # The Hub's client warns of its own parts; pytest would show that as if it were the tests' doing.
            warnings.simplefilter("ignore", DeprecationWarning)
            publish_runs([done.run for done in finished if done.parquet], place, options, gate, say)
    except Exception as error:
        # Whatever went wrong, the captures are here, and the summary tells how to push them.
        return f"not pushed: {error}"
    return None
