"""Shards: the part of all tests that one of several machines runs, by number or as its scheduler says."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

AUTO = "auto"
SHARD_VARIABLE = "AGENTCAP_SHARD"
COUNT_VARIABLE = "AGENTCAP_SHARDS"


class ShardError(ValueError):
    """Say in one line why it is not known which shard this is."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Name the `index`-th of `count` shards, from 1 on."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read `I/N`.

        Raises ShardError.
        """
        found = re.fullmatch(r"([1-9]\d{0,8})/([1-9]\d{0,8})", text, re.ASCII)
        if found is None or int(found[1]) > int(found[2]):
            raise ShardError(f"{text!r} is no shard: give I/N, such as 2/16, with I from 1 to N")
        return cls(int(found[1]), int(found[2]))

    def has(self, key: str) -> bool:
        """Tell whether what is called so belongs to this shard: the same on every machine and in every release."""
        digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.count == self.index - 1


def shard_text(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return `I/N` for a value of --shard: `I/N`, `auto`, or `auto/N` where the scheduler does not tell how many.

    Raises ShardError.
    """
    word, slash, count = text.partition("/")
    if word != AUTO:
        return str(Shard.parse(text))
    if slash and not re.fullmatch(r"[1-9]\d{0,8}", count, re.ASCII):
        raise ShardError(f"{text!r} is no shard: give auto/N, such as auto/16")
    return str(shard_of_environment(environ, int(count) if slash else _given_count(environ)))


def shard_of_environment(environ: Mapping[str, str], count: int | None = None) -> Shard:
    """Read which shard this is from the variables of a scheduler; `count` is the number of shards where it is known.

    Raises ShardError naming the variables, also when two schedulers say something.
    """
    if SHARD_VARIABLE in environ:
        shard = Shard.parse(environ[SHARD_VARIABLE])
        if count not in (None, shard.count):
            raise ShardError(f"{SHARD_VARIABLE}={shard} is not one of {count} shards")
        return shard
    told = {name: read for name, read in _SCHEDULERS.items() if environ.get(name)}
    if not told:
        asked = ", ".join((SHARD_VARIABLE, *_SCHEDULERS))
        raise ShardError(f"no scheduler says which shard this is ({asked}): give I/N, such as 2/16")
    if len(told) > 1:
        raise ShardError(f"{' and '.join(told)} both say which shard this is: set {SHARD_VARIABLE}=I/N")
    [(name, read)] = told.items()
    return read(name, environ, count)


def _given_count(environ: Mapping[str, str]) -> int | None:
    return _number(COUNT_VARIABLE, environ) if COUNT_VARIABLE in environ else None


def _slurm(name: str, environ: Mapping[str, str], count: int | None) -> Shard:
    if count is None:
        first, last, count = (_number(f"SLURM_ARRAY_TASK_{part}", environ) for part in ("MIN", "MAX", "COUNT"))
        # Some of an array that is submitted again would otherwise pass for the whole of a smaller one.
        if first != 0 or last != count - 1 or count == 1:
            raise ShardError(
                f"a Slurm array from {first} to {last} with {count} task(s) does not tell how many shards there are: "
                f"number it from 0 (--array=0-15), or give auto/N, or ${name}/N where the first is 1"
            )
    return _from_zero(name, environ, count)


def _kubernetes(name: str, environ: Mapping[str, str], count: int | None) -> Shard:
    if count is None:
        raise ShardError(f"{name} does not tell how many shards there are: give auto/N, or set {COUNT_VARIABLE}=N")
    return _from_zero(name, environ, count)


def _ci(name: str, environ: Mapping[str, str], count: int | None) -> Shard:
    total = _number("CI_NODE_TOTAL", environ)
    if count not in (None, total):
        raise ShardError(f"CI_NODE_TOTAL is {total}, and {count} shards were asked for")
    return Shard.parse(f"{_number(name, environ)}/{total}")


def _from_zero(name: str, environ: Mapping[str, str], count: int) -> Shard:
    index = _number(name, environ)
    if index >= count:
        raise ShardError(f"{name}={index} is none of {count} shards: they are numbered from 0 to {count - 1}")
    return Shard(index + 1, count)


def _number(name: str, environ: Mapping[str, str]) -> int:
    text = environ.get(name, "")
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise ShardError(f"{name} is {text!r} and no number")
    return int(text)


_SCHEDULERS: Mapping[str, Callable[[str, Mapping[str, str], int | None], Shard]] = {
    "SLURM_ARRAY_TASK_ID": _slurm,
    "JOB_COMPLETION_INDEX": _kubernetes,
    "CI_NODE_INDEX": _ci,
}
