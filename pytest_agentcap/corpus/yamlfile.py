"""Read a YAML file into a typed structure; what is wrong is told with its line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from pytest_agentcap.corpus.source import CorpusError

T = TypeVar("T")

_PLACE = re.compile(r"(.*) - at `\$(.*)`$")
_STEP = re.compile(r"\.([\w-]+)|\[(\d+)\]")


def read_yaml(path: Path, name: str, type_: type[T]) -> tuple[T, tuple[str, ...]]:
    """Return the file as a `type_`, and the keys at its top that nobody reads; `name` is what messages call it.

    Raises CorpusError.
    """
    try:
        text = path.read_bytes().decode("utf-8")
        tree, raw = yaml.compose(text, Loader=yaml.SafeLoader), yaml.safe_load(text)
    except OSError as error:
        raise CorpusError(f"{name}:1: cannot be read ({error.strerror}); check the path and its permissions") from error
    except UnicodeDecodeError:
        raise CorpusError(f"{name}:1: not UTF-8; save the file as UTF-8") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", 0) + 1
        problem = getattr(error, "problem", None) or "not readable"
        raise CorpusError(f"{name}:{line}: not valid YAML ({problem}); correct the file") from None
    try:
        value = msgspec.convert(raw, type_)
    except msgspec.ValidationError as error:
        found = _PLACE.match(str(error))
        what, place = found.groups() if found else (str(error), "")
        where = f"`{place.lstrip('.')}`: " if place else ""
        raise CorpusError(f"{name}:{_line(tree, place)}: {where}{what}; correct the value") from None
    known = {each.encode_name for each in msgspec.structs.fields(value)}  # type: ignore[arg-type]
    return value, tuple(key for key in raw if key not in known)


def _line(tree: yaml.Node | None, place: str) -> int:
    """Return the line of the deepest node on the way to a place such as `.outputs[0].weight`."""
    node, line = tree, 1
    for key, index in _STEP.findall(place):
        children: Iterator[tuple[Any, yaml.Node]] = iter(())
        if isinstance(node, yaml.MappingNode):
            children = ((name.value, child) for name, child in node.value)
        elif isinstance(node, yaml.SequenceNode):
            children = ((str(number), child) for number, child in enumerate(node.value))
        found = next((child for name, child in children if name == (key or index)), None)
        if found is None:
            break
        node, line = found, found.start_mark.line + 1
    return line
