"""What tokens of a model cost; a price that nobody gave is unknown, never 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from pytest_agentcap.conversation.asked import is_same_model
from pytest_agentcap.conversation.usage import Usage

_MILLION = 1_000_000


class PricesError(ValueError):
    """Say which key of a price file is wrong."""


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hold US dollars per million tokens; `cached_input`, for input read from a cache, is `input` unless given."""

    input: float
    output: float
    cached_input: float | None = None

    def cost_usd(self, usage: Usage) -> float | None:
        """Return what a call cost; None when the upstream did not tell both counts."""
        if usage.prompt_tokens is None or usage.completion_tokens is None:
            return None
        cached = min(usage.cached_tokens or 0, usage.prompt_tokens)
        cached_input = self.input if self.cached_input is None else self.cached_input
        fresh = usage.prompt_tokens - cached
        return (fresh * self.input + cached * cached_input + usage.completion_tokens * self.output) / _MILLION


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    models: dict[str, Price]


@dataclass(frozen=True, slots=True)
class Prices:
    """Hold the prices of models by id."""

    models: Mapping[str, Price] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Prices:
        """Read a TOML file with a table `[models."ID"]` for each model.

        Raises PricesError naming the file and the key.
        """
        try:
            models = msgspec.toml.decode(path.read_bytes(), type=_File, strict=False).models
        except (OSError, UnicodeDecodeError, msgspec.MsgspecError) as error:
            raise PricesError(f"{path}: {error}") from error
        for name, price in models.items():
            if any(not 0 <= each < float("inf") for each in msgspec.structs.astuple(price) if each is not None):
                raise PricesError(f'{path}: models."{name}": a price is a number of dollars from 0 on')
        return cls(models)

    def find(self, model: str) -> Price | None:
        """Return the price of a model: of its very id, else of the id with or without its owner."""
        if model in self.models:
            return self.models[model]
        return next((price for name, price in self.models.items() if is_same_model(model, name)), None)
