"""Corpora of prompts as pytest tests that drive real coding agents and capture every model call."""

import pytest

__version__ = "0.1.0"

# An editable install gets no assertion rewriting for test functions that a plugin ships.
pytest.register_assert_rewrite("pytest_agentcap.testcase")
