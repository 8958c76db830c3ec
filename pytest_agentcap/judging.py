"""Which model judges for the grader `llm-judge`, on which server, with which key."""

from __future__ import annotations

import argparse
import os

from pytest_agentcap.credentials import key_of, own_key
from pytest_agentcap.grading.base import GraderError
from pytest_agentcap.grading.builtin import Toolbox
from pytest_agentcap.grading.judge import JudgeServer
from pytest_agentcap.option_values import ROUTER, SCRIPTED, judge_url, model_id
from pytest_agentcap.proxy.apis import Upstream
from pytest_agentcap.settings import Settings

KEY_VARIABLE = "AGENTCAP_JUDGE_API_KEY"


def toolbox_of(settings: Settings) -> Toolbox:
    """Return what graders are made with. Raises GraderError."""
    return Toolbox(settings.grader_timeout_s, _judge_of(settings))


def judge_of_environment() -> JudgeServer | None:
    """Return the judge that the environment names, None when it names no model. Raises GraderError."""
    return _judge(_from_environment("MODEL", None), _from_environment("UPSTREAM", None), ())


def _judge_of(settings: Settings) -> JudgeServer | None:
    upstream = _from_environment("UPSTREAM", settings.judge_upstream)
    if upstream is None and settings.upstream not in (None, SCRIPTED):
        upstream = settings.upstream
    own = next((target for target in settings.targets if target.upstream == upstream), None)
    key = key_of(own, settings) if own else None
    return _judge(_from_environment("MODEL", settings.judge_model), upstream, (key.value,) if key else ())


def _judge(model: str | None, upstream: str | None, keys: tuple[str, ...]) -> JudgeServer | None:
    if model is None:
        return None
    if upstream is None:
        raise GraderError(f"--judge-model {model}: needs its server: pass --judge-upstream URL, such as {ROUTER}")
    own = own_key(upstream)
    known = [os.environ.get(KEY_VARIABLE), *keys, own.value if own else None]
    return JudgeServer(model, Upstream(upstream, next((key for key in known if key), None)))


def _from_environment(name: str, given: str | None) -> str | None:
    variable = f"AGENTCAP_JUDGE_{name}"
    if given is not None or not os.environ.get(variable):
        return given
    try:
        return (model_id if name == "MODEL" else judge_url)(os.environ[variable])
    except argparse.ArgumentTypeError as error:
        raise GraderError(f"{variable}: {error}") from error
