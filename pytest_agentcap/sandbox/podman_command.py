"""podman's command line, for what its service does not do or when there is none."""

from __future__ import annotations

import subprocess

from pytest_agentcap.sandbox.base import SandboxError


def run_podman(*arguments: str, timeout_s: float = 120.0) -> str:
    """Run podman's command line and return what it printed. Raises SandboxError with what it complained of."""
    try:
        done = subprocess.run(
            ["podman", *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=timeout_s
        )
    except FileNotFoundError as error:
        raise SandboxError("podman is not installed: install it or use --sandbox host") from error
    except subprocess.TimeoutExpired as error:
        raise SandboxError(f"podman {arguments[0]} takes longer than {timeout_s:.0f} s") from error
    if done.returncode != 0:
        raise SandboxError(f"podman {arguments[0]} failed: {' '.join(done.stderr.split())}")
    return done.stdout
