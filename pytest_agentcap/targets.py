"""Which models are asked, and the server of each."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pytest_agentcap.option_values import ROUTER, SCRIPTED, upstream_url
from pytest_agentcap.replay.settings import recorded_model, replayed_source

# Where a model's server is looked for that nothing else names.
SERVER_VARIABLES = ("AGENTCAP_UPSTREAM", "OPENAI_BASE_URL")


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


def targets_of(given: Mapping[str, Any]) -> tuple[tuple[ModelTarget, ...], str | None]:
    """Return the models with their servers, and the upstream that they share where one was given or found.

    Raises pytest.UsageError naming the option.
    """
    upstream: str | None = given["upstream"]
    models = tuple(dict.fromkeys(given["model"] or ()))
    if given["agent"] and not models and not given["models"] and (source := replayed_source(upstream)):
        models = (_recorded_model(source),)
    if given["models"]:
        return _listed_targets(given), upstream
    if given["agent"]:
        upstream = _choose_upstream(upstream, bool(models))
    return tuple(ModelTarget(each, upstream or SCRIPTED) for each in models or (SCRIPTED,)), upstream


def _recorded_model(source: str) -> str:
    try:
        return recorded_model(source)
    except (ValueError, OSError) as error:
        raise pytest.UsageError(str(error)) from error


def _listed_targets(given: Mapping[str, Any]) -> tuple[ModelTarget, ...]:
    from pytest_agentcap.models import ModelsError, read_models

    for name in ("model", "upstream", "api-key"):
        if given[name]:
            raise pytest.UsageError(f"--models and --{name} exclude each other: the file says it for each model")
    try:
        return read_models(Path(given["models"]))
    except ModelsError as error:
        raise pytest.UsageError(f"--models {error}") from error


def _choose_upstream(given: str | None, has_model: bool) -> str:
    if not has_model:
        if given not in (None, SCRIPTED):
            raise pytest.UsageError(f"--upstream {given} needs a model: pass --model ID")
        return SCRIPTED
    for name in SERVER_VARIABLES:
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
