from __future__ import annotations

import secrets
from typing import Any

import pytest

# What the solution prints, and how it ends, is its own affair: only who gets to the last line knows the word there.
_CHECK = """
def raises(error, function, *arguments):
    try:
        function(*arguments)
    except error:
        return True
    return False

{setup}
from solution import *
{tests}
import os
os.write(1, {word!r})
"""


@pytest.fixture
def grader(task: Any) -> dict[str, Any]:
    """Run the task's own tests on the solution, in a sandbox where nothing else is."""
    word = secrets.token_hex(16)
    tests, setup = "\n".join(task.metadata["tests"]), task.metadata.get("setup", "")
    program = _CHECK.format(tests=tests, setup=setup, word=f"\n{word}\n".encode())
    script = (
        'timeout 60 python3 -c "$1" < /dev/null > .out 2> .err || { tail -n 1 .err >&2; exit 1; }; grep -qx "$2" .out'
    )
    return {"command": ["sh", "-c", script, "check", program, word]}
