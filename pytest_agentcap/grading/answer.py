"""Read the JSON document in which a grader answers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

_EXCERPT_CHARS = 100


class AnswerError(ValueError):
    """Say what is wrong with a grader's answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold a grader's answer with its defaults filled in."""

    passed: bool
    score: float
    reasoning: str | None
    outcome: Mapping[str, Any] | None


def parse_answer(stdout: bytes) -> Answer:
    """Read `{"pass": bool, "score"?: 0..1, "reasoning"?: string, "outcome"?: object}`; other keys are ignored.

    A missing score is 1.0 or 0.0 by `pass`; null counts as missing. Raises AnswerError.
    """
    text = _decode(stdout).strip()
    if not text:
        raise AnswerError("gave no answer on stdout")
    try:
        document = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite_float)
    except AnswerError:
        raise
    except (ValueError, RecursionError):
        raise AnswerError(f"its answer is not one JSON document: {_excerpt(text)}") from None
    if not isinstance(document, dict):
        raise AnswerError(f"its answer is not a JSON object: {_excerpt(text)}")
    passed = document.get("pass")
    if not isinstance(passed, bool):
        raise AnswerError(f"`pass` must be true or false: {_excerpt(text)}")
    reasoning = document.get("reasoning")
    if reasoning is not None and not isinstance(reasoning, str):
        raise AnswerError(f"`reasoning` must be a string: {_excerpt(text)}")
    outcome = document.get("outcome")
    if outcome is not None and not isinstance(outcome, dict):
        raise AnswerError(f"`outcome` must be an object: {_excerpt(text)}")
    return Answer(passed=passed, score=_score(document.get("score"), passed), reasoning=reasoning, outcome=outcome)


def _score(value: object, passed: bool) -> float:
    if value is None:
        return 1.0 if passed else 0.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise AnswerError(f"`score` must be a number from 0 to 1, not {_excerpt(json.dumps(value))}")
    return float(value)


def _decode(stdout: bytes) -> str:
    try:
        return stdout.decode("utf-8")
    except UnicodeDecodeError:
        raise AnswerError("its answer is not UTF-8") from None


def _refuse_constant(constant: str) -> NoReturn:
    raise AnswerError(f"its answer holds {constant}, which is no JSON number")


def _finite_float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise AnswerError(f"its answer holds the number {digits}, which is too large")
    return value


def _excerpt(text: str) -> str:
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= _EXCERPT_CHARS else f"{one_line[:_EXCERPT_CHARS]}…"
