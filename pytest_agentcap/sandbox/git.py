"""git, run on this machine over what others wrote: with no hooks, no configuration but ours, and no helper programs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from pytest_agentcap.sandbox.base import SandboxError

# What is needed to reach a repository; nothing that makes git read a configuration or run a program.
_ALLOWED = ("PATH", "HOME", "SSH_AUTH_SOCK", "SSL_CERT_FILE", "GIT_SSL_CAINFO")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
    "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
    "LC_ALL": "C",
}
# How this machine's user reaches a repository: proxies, credentials, mirrors. Never with a tree that others wrote.
_USERS = ("GIT_CONFIG_", "XDG_CONFIG_HOME", "GIT_SSH_COMMAND", "GIT_ASKPASS", "SSH_ASKPASS")
_OURS_ALONE = ("GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_GLOBAL")
_SETTINGS = (
    f"core.hooksPath={os.devnull}",
    f"core.attributesFile={os.devnull}",
    f"core.excludesFile={os.devnull}",
    "core.fsmonitor=false",
    "core.protectHFS=false",
    "core.protectNTFS=false",
    "core.quotePath=true",
    "advice.detachedHead=false",
    "gc.auto=0",
    "maintenance.auto=false",
)


def git(folder: Path, *arguments: str, stdin: bytes = b"", as_user: bool = False) -> bytes:
    """Run git with `folder` as its git directory, or as its checkout when that has a `.git`; return what it printed.

    The folder must be ours: a repository's own configuration is read. `as_user` heeds the user's configuration as
    well, which is for reaching other repositories alone. Raises SandboxError with git's last line.
    """
    settings = [word for setting in _SETTINGS for word in ("-c", setting)]
    checkout = folder / ".git"
    places = {"GIT_DIR": str(checkout), "GIT_WORK_TREE": str(folder)} if checkout.exists() else {"GIT_DIR": str(folder)}
    try:
        done = subprocess.run(
            ["git", *settings, *arguments],
            cwd=folder,
            env=_environment(as_user) | places,
            input=stdin,
            capture_output=True,
        )
    except FileNotFoundError as error:
        raise SandboxError("git is not installed on this machine") from error
    if done.returncode != 0:
        raise SandboxError(f"git {arguments[0]} failed: {_last_line(done.stderr)}")
    return done.stdout


def make_repository(folder: Path, *options: str) -> None:
    """Make an empty repository, without what templates would put into it. Raises SandboxError."""
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "--quiet", "--template=", *options, "--", str(folder))


def _environment(as_user: bool) -> dict[str, str]:
    names: Sequence[str] = [*_ALLOWED, *_PROXIES, *(name.upper() for name in _PROXIES)]
    given = {name: os.environ[name] for name in names if name in os.environ}
    if not as_user:
        return given | _ENVIRONMENT
    ours = {name: value for name, value in _ENVIRONMENT.items() if name not in _OURS_ALONE}
    return given | ours | {name: value for name, value in os.environ.items() if name.startswith(_USERS)}


def _last_line(text: bytes) -> str:
    lines = [line.strip() for line in text.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
