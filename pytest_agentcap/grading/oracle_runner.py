"""Compute values by oracles, or compare answers with them: a JSON job on stdin, its results as JSON on stdout.

A script for `python -P`, run away from the session. A job is `{"oracles": [{"fn", "args"}], "tree", "search"}` or
`{"compare": [{"comparator", "expected", "actual", "rel", "abs"}]}`; each item has one result, `{"value": …}` or
`{"error": "…"}`. Comparing is done here as well, since a pattern may take for ever on what an agent wrote.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import os
import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any


def main() -> int:
    # What oracles print goes to stderr: stdout is for the results alone.
    result_fd = os.dup(1)
    os.dup2(2, 1)
    job = json.load(sys.stdin.buffer)
    sys.dont_write_bytecode = True
    # Behind the standard library: a corpus's own modules take the place of nothing.
    sys.path += job.get("search", [])
    results = [_result(partial(_compute, item, Path(job["tree"]))) for item in job.get("oracles", [])]
    results += [_result(partial(_compare, **item)) for item in job.get("compare", [])]
    with os.fdopen(result_fd, "w", encoding="ascii") as stream:
        json.dump(results, stream)
    return 0


def _result(work: Callable[[], Any]) -> dict[str, Any]:
    try:
        value = work()
        json.dumps(value, allow_nan=False)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"}
    return {"value": value}


def _compute(item: Mapping[str, Any], tree: Path) -> Any:
    return _function(item["fn"])(repo_root=tree, **item["args"])


def _function(name: str) -> Callable[..., Any]:
    module, colon, function = name.partition(":")
    if not colon:
        found: Callable[..., Any] = _ours()[name]
        return found
    own: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return own


def _ours() -> Mapping[str, Callable[..., Any]]:
    # By its path: the package itself, and all that it imports, stays out of this process.
    spec = importlib.util.spec_from_file_location("agentcap_oracles", Path(__file__).with_name("oracles.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    registry: Mapping[str, Callable[..., Any]] = module.ORACLES
    return registry


def _compare(comparator: str, expected: Any, actual: Any, rel: float, abs: float) -> bool:
    match comparator:
        case "equals":
            return _same(expected, actual)
        case "approx":
            return _is_number(expected) and _is_number(actual) and _is_close(expected, actual, rel, abs)
        case "set":
            lists = isinstance(expected, list) and isinstance(actual, list)
            return lists and {_key(each) for each in expected} == {_key(each) for each in actual}
        case "regex":
            return isinstance(actual, str) and re.fullmatch(expected, actual) is not None
        case "json-schema":
            import jsonschema

            try:
                return bool(jsonschema.validators.validator_for(expected)(expected).is_valid(actual))
            except OverflowError:
                # A whole number that is no float is no multiple of one.
                return False
        case _:
            raise ValueError(f"there is no comparator {comparator!r}")


def _same(one: Any, other: Any) -> bool:
    """Compare as JSON does: 1 and 1.0 are one number, and true is none."""
    return _key(one) == _key(other)


def _is_close(expected: float, actual: float, rel: float, abs: float) -> bool:
    try:
        return math.isclose(expected, actual, rel_tol=rel, abs_tol=abs)
    except OverflowError:
        # JSON's whole numbers have no limit, and these are beyond all floats.
        return expected == actual


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _key(value: Any) -> str:
    return json.dumps(_plain(value), sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


if __name__ == "__main__":
    sys.exit(main())
