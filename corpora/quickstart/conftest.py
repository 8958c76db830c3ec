from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def grader() -> Path:
    """Grade the tasks of this corpus with the program beside it."""
    return Path(__file__).with_name("grader.py")
