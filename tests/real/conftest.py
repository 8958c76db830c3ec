"""What tests with real agents share: pytest as a process of its own, with the repository's plugin."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
# Known values that nothing which leaves a sandbox may hold.
SECRETS = {"HF_TOKEN": "hf_not-for-the-sandbox", "AGENTCAP_API_KEY": "sk-not-for-the-sandbox"}


@pytest.fixture(scope="session")
def run_pytest(need: Callable[[str], None]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run pytest with two workers in `cwd`; its runs go to `workspace`.

    Images are built in its preflight, before its first test and without a limit of time.
    """
    need("podman")

    def run(workspace: Path, *arguments: str, cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "agentcap", "-n", "2", *arguments],
            cwd=cwd,
            env={**os.environ, **SECRETS, "AGENTCAP_WORKSPACE": str(workspace)},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    return run


@pytest.fixture(scope="session")
def secrets() -> tuple[str, ...]:
    """Return the secret values in the environment of each of these runs."""
    return tuple(SECRETS.values())
