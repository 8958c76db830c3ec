"""Read tasks on repositories: `tasks/<set>/<repository>/task_*.yaml`, with `repos/<repository>.yaml` beside `tasks`.

The files are AgentGym's, with a few keys of ours.
"""

from __future__ import annotations

import math
import re
import warnings
from pathlib import Path
from typing import Any

import msgspec

from pytest_agentcap.corpus.oraclenames import ORACLES, is_oracle, oracle_name
from pytest_agentcap.corpus.repotask import (
    CommandPolicy,
    Comparator,
    Oracle,
    Output,
    OutputType,
    Repository,
    RepoTask,
    Scoring,
    unfit,
)
from pytest_agentcap.corpus.source import CorpusError, Entry
from pytest_agentcap.corpus.yamlfile import read_yaml

_NAME = re.compile(r"task_.+\.ya?ml")
_REMOTE = re.compile(r"(?:https?|ssh|git)://\S+|[\w.-]+@[\w.-]+:\S+")
PROFILES = ("agentgym", "oracles")


class _Repository(msgspec.Struct, frozen=True):
    id: str
    ref: str
    url: str = ""
    path: str = ""
    initial_working_dir: str | None = None


class _Oracle(msgspec.Struct, frozen=True):
    fn: str
    args: dict[str, Any] | None = None


class _Output(msgspec.Struct, frozen=True):
    key: str
    type: OutputType = "str"
    oracle: _Oracle | None = None
    expected: Any = msgspec.UNSET
    comparator: Comparator = "equals"
    weight: float = 1.0
    rel: float = 1e-6
    abs: float = 0.0


class _Policy(msgspec.Struct, frozen=True):
    allowed: tuple[str, ...] = ()
    prohibited: tuple[str, ...] = ()
    write_paths_allowed: tuple[str, ...] = ("eval_artifacts/", "/tmp/")


class _Scoring(msgspec.Struct, frozen=True):
    profile: str = "agentgym"
    weights: dict[str, float] = {}


class _Task(msgspec.Struct, frozen=True):
    id: str
    repo: str
    instruction: str
    outputs: tuple[_Output, ...]
    difficulty: str = "easy"
    initial_working_dir: str = "."
    command_policy: _Policy | None = None
    max_commands: int = 10
    timeout_seconds: float = 120
    answer: str = "eval_artifacts/answer.json"
    scoring: _Scoring | None = None
    hint: str | None = None
    reference: str | None = None
    images: str | tuple[str, ...] = ()
    metadata: dict[str, Any] = {}

    @property
    def policy(self) -> _Policy:
        return self.command_policy or _Policy()


def is_repo_task(path: Path) -> bool:
    """Tell whether a file is a task on a repository, by its name and by what is around it."""
    above = path.absolute().parents
    return (
        _NAME.fullmatch(path.name) is not None
        and len(above) > 3
        and above[2].name == "tasks"
        and (above[3] / "repos").is_dir()
    )


def set_of(path: Path) -> str:
    """Return the name of the set that a task belongs to."""
    return path.absolute().parents[1].name


def index_of(path: Path) -> int:
    """Return the position of a task in its set, from 1 on."""
    files = sorted(each for each in path.absolute().parents[1].glob("*/task_*") if _NAME.fullmatch(each.name))
    return files.index(path.absolute()) + 1


def read_repo_task(path: Path, name: str) -> tuple[Entry, RepoTask]:
    """Read a task and its repository; `name` is what messages call the file. Raises CorpusError."""
    root = path.absolute().parents[3]
    told, unread = read_yaml(path, name, _Task)
    if unread:
        warnings.warn(f"{name}:1: keys that nobody reads: {', '.join(unread)}; `metadata` can hold them", stacklevel=2)
    told = msgspec.structs.replace(told, outputs=tuple(_named(each, root, name) for each in told.outputs))
    _check(told, name)
    repository = _repository(root, told.repo, name)
    task = RepoTask(
        repository=repository,
        root=root,
        outputs=tuple(_output(each) for each in told.outputs),
        difficulty=told.difficulty,
        folder=told.initial_working_dir if told.initial_working_dir != "." else repository.folder,
        policy=CommandPolicy(told.policy.allowed, told.policy.prohibited, told.policy.write_paths_allowed),
        max_commands=told.max_commands,
        answer=told.answer,
        scoring=_scoring(root, told.scoring, name),
    )
    entry = Entry(
        line=1,
        prompts=(_prompt(told),),
        id=told.id,
        hint=told.hint,
        references=(told.reference,) if told.reference else (),
        metadata={"repository": repository.id, "difficulty": told.difficulty, **told.metadata},
        timeout_s=told.timeout_seconds,
        images=(told.images,) if isinstance(told.images, str) else told.images,
    )
    return entry, task


def _named(output: _Output, root: Path, name: str) -> _Output:
    if output.oracle is None:
        return output
    fn = oracle_name(output.oracle.fn, root, _shown(root / "evaluator" / "oracles.py", name))
    return msgspec.structs.replace(output, oracle=msgspec.structs.replace(output.oracle, fn=fn))


def _check(task: _Task, name: str) -> None:
    faults = []
    keys = [output.key for output in task.outputs]
    if not keys:
        faults.append("`outputs` is empty; ask for at least one value")
    faults += [f"the output {key!r} stands twice; give each its own key" for key in keys if keys.count(key) > 1]
    for output in task.outputs:
        literal = output.expected is not msgspec.UNSET
        if (output.oracle is None) != literal:
            faults.append(f"the output {output.key!r} needs either `oracle` or `expected`; give one of them")
        elif output.oracle and not is_oracle(output.oracle.fn):
            problem = f"the output {output.key!r} names no oracle that there is: {output.oracle.fn!r}"
            faults.append(f"{problem}; name one of {', '.join(sorted(ORACLES))}, or module:function")
        elif output.type == "oracle_bool" and not output.oracle:
            faults.append(f"the output {output.key!r} is judged by an oracle, and names none; name one")
        elif literal and (misfit := unfit(output.comparator, output.expected)):
            faults.append(f"`expected` of the output {output.key!r} {misfit}; correct it")
        if not 0 <= output.weight < math.inf:
            faults.append(f"the output {output.key!r} has the weight {output.weight:g}; write 0 or more")
        if not (0 <= output.rel < math.inf and 0 <= output.abs < math.inf):
            faults.append(f"the output {output.key!r} has a tolerance that is none; write 0 or more")
    if keys and not sum(output.weight for output in task.outputs):
        faults.append("every output has the weight 0; give one of them more")
    if not 0 < task.timeout_seconds <= 10**7:
        faults.append("`timeout_seconds` is out of range; write 1 to 10000000")
    if task.max_commands < 1:
        faults.append("`max_commands` is out of range; write 1 or more")
    places = {"initial_working_dir": task.initial_working_dir, "answer": task.answer}
    faults += [f"`{key}` leads out of the repository; write a path inside" for key, at in places.items() if _leaves(at)]
    if faults:
        raise CorpusError(f"{name}:1: {faults[0]}")


def _leaves(path: str) -> bool:
    return path.startswith("/") or ".." in Path(path).parts


def _repository(root: Path, wanted: str, name: str) -> Repository:
    path, told = _described(root, wanted, name)
    shown = _shown(path, name)
    if bool(told.url) == bool(told.path):
        raise CorpusError(f"{shown}:1: needs either `url` or `path`; give one of them")
    folder = told.initial_working_dir or "."
    if _leaves(folder):
        raise CorpusError(f"{shown}:1: `initial_working_dir` leads out of the repository; write a path inside")
    location = told.url or told.path
    if not _REMOTE.fullmatch(location):
        location = str((path.parent / location.removeprefix("file://")).resolve())
    return Repository(told.id, location, told.ref, folder)


def _described(root: Path, wanted: str, name: str) -> tuple[Path, _Repository]:
    """Return the file that describes a repository: the one of its name, else whichever says that it is its id."""
    usual = root / "repos" / f"{wanted}.yaml"
    if re.fullmatch(r"[\w.-]+", wanted) and usual.is_file():
        return usual, read_yaml(usual, _shown(usual, name), _Repository)[0]
    for path in sorted((root / "repos").glob("*.yaml")):
        told = read_yaml(path, _shown(path, name), _Repository)[0]
        if told.id == wanted:
            return path, told
    raise CorpusError(f"{name}:1: there is no repos/{wanted}.yaml; describe the repository there")


def _shown(path: Path, name: str) -> str:
    """Return what messages call a file beside `tasks`, where they call the task's `name`."""
    above = f"{name.rsplit('/tasks/', 1)[0]}/" if "/tasks/" in name else ""
    return f"{above}{path.parent.name}/{path.name}"


def _output(told: _Output) -> Output:
    return Output(
        key=told.key,
        type=told.type,
        oracle=Oracle(told.oracle.fn, told.oracle.args or {}) if told.oracle else None,
        expected=None if told.expected is msgspec.UNSET else told.expected,
        comparator=told.comparator,
        weight=told.weight,
        rel=told.rel,
        abs=told.abs,
    )


def _scoring(root: Path, told: _Scoring | None, name: str) -> Scoring:
    """Return a task's own scoring, on top of what AgentGym's `scoring/weights.yaml` says for all tasks."""
    path = root / "scoring" / "weights.yaml"
    weights: dict[str, float] = {}
    if path.is_file():
        weights = read_yaml(path, f"scoring/{path.name}", _Weights)[0].given()
    own = told or _Scoring()
    if own.profile not in PROFILES:
        raise CorpusError(f"{name}:1: there is no scoring profile {own.profile!r}; name one of {', '.join(PROFILES)}")
    unknown = sorted(set(own.weights) - set(_Weights.__struct_fields__))
    if unknown:
        raise CorpusError(f"{name}:1: `scoring.weights` has no {unknown[0]!r}; see the weights of the profiles")
    return Scoring(own.profile, weights | own.weights)


class _Weights(msgspec.Struct, frozen=True):
    success_points: float | None = None
    partial_points: float | None = None
    valid_command_points: float | None = None
    efficiency_bonus_max: float | None = None
    efficiency_bonus_threshold: float | None = None
    safety_penalty_per_violation: float | None = None

    def given(self) -> dict[str, float]:
        return {key: value for key, value in msgspec.structs.asdict(self).items() if value is not None}


def _prompt(task: _Task) -> str:
    """Return the instruction, what it takes for granted, and the rules: nobody can keep what was not told."""
    policy = task.policy
    keys = ", ".join(output.key for output in task.outputs if output.type != "oracle_bool")
    facts = [f"Repository: {task.repo}", *([f"Keys of {task.answer}: {keys}"] if keys else [])]
    rules = [f"Use at most {task.max_commands} tool calls."]
    if policy.allowed:
        rules.append(f"Run no other programs than: {', '.join(policy.allowed)}.")
    if policy.prohibited:
        rules.append(f"Never run: {', '.join(policy.prohibited)}.")
    rules.append("Stay in the repository, and do not use the network.")
    if policy.write_paths_allowed:
        rules.append(f"Write nowhere but below: {', '.join(policy.write_paths_allowed)}")
    return "\n".join([task.instruction.strip(), "", *facts, "", "Rules:", *(f"- {rule}" for rule in rules)])
