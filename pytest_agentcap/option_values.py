"""What values of options are: a reader takes a text, and raises ArgumentTypeError for one that does not fit."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from pytest_agentcap.replay.settings import replayed_source
from pytest_agentcap.sharding import ShardError, shard_text

SCRIPTED = "scripted"
ROUTER = "https://router.huggingface.co"
BASE_URL = "a URL without user, password and query"


def count(text: str) -> int:
    """Read a whole number from 1 on."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def whole(text: str) -> int:
    """Read a whole number."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def seconds(text: str) -> float:
    """Read a number of seconds above 0."""
    return _number(text, "seconds above 0", lambda number: number > 0)


def dollars(text: str) -> float:
    """Read a number of US dollars above 0."""
    return _number(text, "dollars above 0", lambda number: number > 0)


def processors(text: str) -> float:
    """Read a number of CPUs from 0.01 on."""
    return _number(text, "CPUs from 0.01 on", lambda number: number >= 0.01)


def size(text: str) -> str:
    """Read a size in bytes, with a unit or without, as podman takes it."""
    if not re.fullmatch(r"[1-9]\d*[bkmgt]?b?", text.lower()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 512m or 4g")
    return text


def model_id(text: str) -> str:
    """Read the id of a model, which goes into agents' command lines and configuration files."""
    if not re.fullmatch(r"[^\s\"'\\{}]+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a model id: no white space, quotes or braces")
    return text


def upstream_url(text: str) -> str:
    """Read an upstream: the scripted model, a recording or the URL of a model server."""
    if replayed_source(text):
        return text
    if text != SCRIPTED and not is_base_url(text):
        raise argparse.ArgumentTypeError(
            f"{shown_url(text)!r} is no upstream: give {SCRIPTED!r}, replay:SOURCE or {BASE_URL}, such as {ROUTER} or "
            "http://127.0.0.1:8080"
        )
    return text.rstrip("/")


def gate(text: str) -> str:
    """Read a gate of `--fail-under`, as text."""
    from pytest_agentcap.analysis.gates import Gate

    try:
        return str(Gate.parse(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def judge_url(text: str) -> str:
    """Read the URL of the server that has the judge."""
    if not is_base_url(text):
        raise argparse.ArgumentTypeError(f"{shown_url(text)!r} is no model server: give {BASE_URL}")
    return text.rstrip("/")


def server_url(text: str) -> str:
    """Read the URL of a model server."""
    if not is_base_url(text):
        raise argparse.ArgumentTypeError(
            f"{shown_url(text)!r} is no URL of a model server: give {BASE_URL}, such as http://127.0.0.1:8080"
        )
    return text.rstrip("/")


def pattern(text: str) -> str:
    """Read a regular expression, as text."""
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


def shown_url(text: str) -> str:
    """Return a URL, or what was meant to be one, without what may be secret in it: user, password and query."""
    shown = re.sub(r"\A(\w+://)?.*@", r"\1…@", text, flags=re.DOTALL)
    return re.sub(r"\?.+", "?…", shown, flags=re.DOTALL)


def _number(text: str, told: str, fits: Callable[[float], bool]) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not fits(number) or math.isinf(number):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of {told}")
    return number


def shard(text: str) -> str:
    """Read a shard, as text."""
    # As text, which travels to the workers of xdist: there `auto` was decided already.
    try:
        return shard_text(text)
    except ShardError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def destination(text: str) -> str:
    """Read where `--push` publishes, as text."""
    from pytest_agentcap.publish.destination import Destination, DestinationError

    try:
        return str(Destination.parse(text))
    except DestinationError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def one_of(*names: str) -> Callable[[str], str]:
    """Return a reader of one of these names."""

    def choose(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(names)}")
        return text

    return choose
