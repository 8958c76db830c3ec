"""Find the grader that an option or a fixture names."""

from __future__ import annotations

import ast
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_agentcap.grading.base import Grader, GraderError
from pytest_agentcap.grading.builtin import Toolbox, builtin_grader, named_grader
from pytest_agentcap.grading.program import DEFAULT_TIMEOUT_S, ProgramGrader, named_variables, python_grader
from pytest_agentcap.grading.script import ENDINGS, script_grader

_WANTED = "a Python file that defines grade(), a .ts or .js module that exports it, or an executable"

GraderValue = str | Path | Mapping[str, Any]


def load_graders(values: Iterable[GraderValue], *, base: Path, tools: Toolbox | None = None) -> tuple[Grader, ...]:
    """Return the graders that options or a fixture name; a mapping has built-in ones, each with its argument.

    Raises as `load_grader`.
    """
    tools = tools or Toolbox()
    graders: list[Grader] = []
    for value in values:
        if isinstance(value, Mapping):
            graders += (named_grader(name, argument, tools) for name, argument in value.items())
        else:
            graders.append(load_grader(value, base=base, tools=tools))
    return tuple(graders)


def load_grader(value: str | Path, *, base: Path, tools: Toolbox | None = None) -> Grader:
    """Return a built-in grader by its name, or the grader in a file; a relative path starts at `base`.

    Raises GraderError.
    """
    tools = tools or Toolbox()
    built_in = builtin_grader(value, base, tools) if isinstance(value, str) else None
    return built_in or load_program(value, base=base, timeout_s=tools.timeout_s)


def load_program(
    value: str | Path, *, base: Path, timeout_s: float = DEFAULT_TIMEOUT_S, exports: Sequence[str] = ("grade",)
) -> ProgramGrader:
    """Return the program that a file is; a relative path starts at `base`. Nothing of the file is run.

    A `.py` file that defines `grade` is called in a fresh interpreter, the first of `exports` that a JavaScript or
    TypeScript module has by bun or node, any other executable file is a program. Raises GraderError when the file is
    none of these, and when a variable that it is to have is not set.
    """
    program = _program((base / value).absolute(), timeout_s, exports)
    return replace(program, variables=named_variables(os.environ))


def _program(path: Path, timeout_s: float, exports: Sequence[str]) -> ProgramGrader:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise GraderError(f"grader {path}: {error.strerror}; name {_WANTED}") from error
    if not stat.S_ISREG(mode):
        raise GraderError(f"grader {path}: not a file; name {_WANTED}")
    if path.suffix == ".py" and _defines_grade(path):
        return python_grader(path.stem, path, timeout_s=timeout_s)
    if path.suffix in ENDINGS:
        return script_grader(path, timeout_s=timeout_s, exports=exports)
    if os.access(path, os.X_OK):
        return ProgramGrader(path.stem, (str(path),), timeout_s)
    if path.suffix == ".py":
        raise GraderError(f"grader {path}: defines no grade(); define it at the top level, or make the file executable")
    raise GraderError(f"grader {path}: not executable; chmod +x it, or name {_WANTED}")


def _defines_grade(path: Path) -> bool:
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except OSError as error:
        raise GraderError(f"grader {path}: cannot be read ({error.strerror}); check its permissions") from error
    except SyntaxError as error:
        raise GraderError(f"grader {path}:{error.lineno}: {error.msg}; correct the file") from None
    except (ValueError, RecursionError) as error:
        raise GraderError(f"grader {path}: not a Python file ({error}); correct the file") from None
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return any(isinstance(node, functions) and node.name == "grade" for node in tree.body)
