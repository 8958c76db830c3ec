"""Call `grade` of the Python file named in argv: JSON arguments on stdin, its result as JSON on stdout.

A script for `python -P`, run away from the session: only the standard library, and nothing of the package.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def main(path: str) -> int:
    # The grader's own prints, and those of programs it starts, go to stderr: stdout is for the result alone.
    result_fd = os.dup(1)
    os.dup2(2, 1)
    given = {"hint": None, "trajectory": [], "metadata": {}, "cwd": None, **json.load(sys.stdin.buffer)}
    try:
        grade = _load(path).__dict__["grade"]
        result = grade(**_accepted(grade, given))
        if inspect.isawaitable(result):
            # Half of what an ordinary grader's start would take.
            import asyncio

            result = asyncio.run(_wait_for(result))
        document = json.dumps(result)
    except Exception as error:
        traceback.print_exc()
        print(f"{type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    with os.fdopen(result_fd, "w", encoding="ascii") as stream:
        stream.write(document)
    return 0


def _load(path: str) -> Any:
    # No byte code: the file's folder belongs to its owner. Its helpers are found there, but never before the
    # standard library, and under a name that keeps `if __name__ == "__main__"` from running.
    sys.dont_write_bytecode = True
    sys.path.append(str(Path(path).parent))
    spec = importlib.util.spec_from_file_location("agentcap_grader", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _accepted(grade: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    parameters = inspect.signature(grade).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return dict(given)
    return {name: value for name, value in given.items() if name in parameters}


async def _wait_for(awaitable: Any) -> Any:
    return await awaitable


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
