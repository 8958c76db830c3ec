"""What a run's sessions tell of success rates: by task, and over all tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from pytest_agentcap.analysis.estimators import clustered_interval
from pytest_agentcap.analysis.statistics import mean
from pytest_agentcap.analysis.trials import estimated
from pytest_agentcap.formats.results_jsonl import JUDGED
from pytest_agentcap.runs.order import last_attempts

NO_VERDICT = "infra"


class TaskRates(Struct, frozen=True):
    """Hold what the trials of one task tell, see `Estimates`; `score` is the mean of the judged ones."""

    corpus: str
    task_id: str
    judged: int
    passed: int
    excluded: dict[str, int]
    pass_rate: float | None
    pass_rate_interval: tuple[float, float] | None
    pass_at: dict[str, float | None]
    pass_pow: dict[str, float | None]
    flakiness: float | None
    score: float | None


class RunRates(Struct, frozen=True):
    """Hold the rates of a run; figures are null where nothing tells them.

    `pass_rate` is over all judged trials, with an interval that knows that trials of a task are alike. `pass_at`,
    `pass_pow` (by k as text) and `flakiness` are means over the tasks that have enough judged trials; `tasks_at` says
    how many those are. `calls` is the smallest number of calls of a session.
    """

    sessions: int
    judged: int
    passed: int
    excluded: dict[str, int]
    pass_rate: float | None
    pass_rate_interval: tuple[float, float] | None
    pass_at: dict[str, float | None]
    pass_pow: dict[str, float | None]
    tasks_at: dict[str, int]
    flakiness: float | None
    score: float | None
    calls: int | None
    tasks: tuple[TaskRates, ...]


def rates_of(results: Iterable[Mapping[str, Any]]) -> RunRates:
    """Estimate rates from the results of a run: the last attempt of each task and trial."""
    last = last_attempts(results)
    by_task: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for result in last:
        by_task.setdefault((result["corpus"], result["task_id"]), []).append(result)
    tasks = tuple(_task(*key, trials) for key, trials in by_task.items())
    judged, passed = sum(each.judged for each in tasks), sum(each.passed for each in tasks)
    excluded: Counter[str] = Counter()
    for each in tasks:
        excluded.update(each.excluded)
    most = max((len(trials) for trials in by_task.values()), default=0)
    steps = [str(k) for k in range(1, most + 1)]
    scores = [score for result in last if (score := _score(result)) is not None]
    return RunRates(
        sessions=len(last),
        judged=judged,
        passed=passed,
        excluded=dict(sorted(excluded.items())),
        pass_rate=passed / judged if judged else None,
        pass_rate_interval=clustered_interval([(each.judged, each.passed) for each in tasks]),
        pass_at={k: mean(_known(each.pass_at.get(k) for each in tasks)) for k in steps},
        pass_pow={k: mean(_known(each.pass_pow.get(k) for each in tasks)) for k in steps},
        tasks_at={k: len(_known(each.pass_at.get(k) for each in tasks)) for k in steps},
        flakiness=mean(_known(each.flakiness for each in tasks)),
        score=mean(scores),
        calls=min((result["calls"] for result in last), default=None),
        tasks=tasks,
    )


def _task(corpus: str, task_id: str, trials: Sequence[Mapping[str, Any]]) -> TaskRates:
    # A session whose end could not be recorded was broken by the infrastructure.
    verdicts = [trial["verdict"] or NO_VERDICT for trial in trials]
    scores = [score for trial in trials if (score := _score(trial)) is not None]
    return TaskRates(corpus, task_id, score=mean(scores), **asdict(estimated(verdicts)))


def _score(result: Mapping[str, Any]) -> float | None:
    """Return the mean score of a judged session's graders."""
    return mean([grader["score"] for grader in result["graders"]]) if result["verdict"] in JUDGED else None


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
