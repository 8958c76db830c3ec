from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_agentcap.sandbox.base import SandboxOptions


@pytest.fixture
def sandbox_options(sandbox_options: SandboxOptions) -> SandboxOptions:
    """Let the agents of this corpus reach the Hub."""
    return replace(sandbox_options, network="open")
