"""Which commands reach for the network."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pytest_agentcap.safety.commands import Word
from pytest_agentcap.safety.programs import PYTHON, name_of

_ALWAYS = frozenset(
    {"curl", "wget", "ssh", "scp", "sftp", "ftp", "telnet", "nc", "ncat", "netcat", "socat", "rsync", "ping", "dig"}
    | {"nslookup", "host", "traceroute", "aria2c", "lynx", "w3m", "http", "https", "gh", "npx", "uvx", "pipx"}
)
_INSTALL = frozenset({"install", "i", "add", "update", "upgrade"})
_VERBS: Mapping[str, frozenset[str]] = {
    "git": frozenset({"clone", "fetch", "pull", "push", "ls-remote"}),
    "svn": frozenset({"checkout", "co", "update", "up", "commit", "ci"}),
    "hg": frozenset({"clone", "pull", "push", "incoming", "outgoing"}),
    "pip": frozenset({"install", "download", "wheel", "index"}),
    "pip3": frozenset({"install", "download", "wheel", "index"}),
    "uv": frozenset({"pip", "sync", "add", "lock", "tool"}),
    "poetry": frozenset({"install", "add", "update", "lock", "publish"}),
    "conda": frozenset({"install", "create", "update", "search"}),
    "npm": _INSTALL | {"ci", "publish", "view", "search", "exec"},
    "pnpm": _INSTALL | {"dlx"},
    "yarn": _INSTALL | {"dlx"},
    "bun": _INSTALL | {"x"},
    "apt": _INSTALL | {"full-upgrade"},
    "apt-get": _INSTALL | {"dist-upgrade"},
    "apk": _INSTALL,
    "brew": _INSTALL,
    "cargo": frozenset({"install", "fetch", "update", "publish"}),
    "go": frozenset({"get", "install"}),
    "gem": frozenset({"install", "update"}),
    "docker": frozenset({"pull", "push", "login", "run", "search"}),
    "podman": frozenset({"pull", "push", "login", "run", "search"}),
    "openssl": frozenset({"s_client"}),
    "getent": frozenset({"hosts", "ahosts", "ahostsv4", "ahostsv6"}),
    "hf": frozenset({"download", "upload", "auth"}),
    "huggingface-cli": frozenset({"download", "upload", "login"}),
}
_PAIRS = {("git", "remote", "update"), ("git", "submodule", "update"), ("git", "lfs", "fetch"), ("git", "lfs", "pull")}
# Options whose value is a word of its own that stands before the verb.
_VALUED: Mapping[str, frozenset[str]] = {
    "git": frozenset({"-C", "-c", "--git-dir", "--work-tree", "--namespace"}),
    "npm": frozenset({"--prefix", "-C"}),
    "apt": frozenset({"-o", "-c", "-t"}),
    "apt-get": frozenset({"-o", "-c", "-t"}),
    "uv": frozenset({"--directory", "--project"}),
}
_DEVICE = re.compile(r"/dev/(?:tcp|udp)/.+")


def reaches_for_network(words: Sequence[Word]) -> bool:
    """Tell whether a command is one that needs the network."""
    name, texts = name_of(words[0]), [word.text for word in words[1:]]
    if name in _ALWAYS:
        return True
    if PYTHON.fullmatch(name) and texts[:1] == ["-m"] and len(texts) > 1:
        return reaches_for_network(words[2:])
    if name == "yarn" and not texts:
        return True
    operands = _operands(texts, _VALUED.get(name, frozenset()))
    return bool(operands) and (operands[0] in _VERBS.get(name, ()) or (name, *operands[:2]) in _PAIRS)


def is_connection(path: str) -> bool:
    """Tell whether bash makes a connection of a file that it is to open."""
    return _DEVICE.fullmatch(path) is not None


def _operands(texts: Sequence[str], valued: frozenset[str]) -> list[str]:
    found, skip = [], False
    for text in texts:
        if skip:
            skip = False
        elif text.startswith("-"):
            skip = text in valued
        else:
            found.append(text)
    return found
