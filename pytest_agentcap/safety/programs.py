"""What single programs do with their words: which run others, which write, which reach for the network."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_agentcap.safety.shell import Word

SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "ash"})
PYTHON = re.compile(r"python(?:3(?:\.\d+)?)?")
# They change nothing but the shell itself: no policy is about them.
BUILTINS = frozenset(
    {":", "true", "false", "test", "[", "set", "unset", "shopt", "exit", "return", "break", "continue", "shift", "wait"}
    | {"read", "trap", "umask", "local", "export", "declare", "typeset", "readonly", "let", "hash", "getopts", "times"}
)

_VALUED = {
    "sudo": "ugCDhpRTU",
    "doas": "uC",
    "env": "uCS",
    "nice": "n",
    "ionice": "cnp",
    "timeout": "ks",
    "stdbuf": "ioe",
    "xargs": "aEIdLnPs",
    "time": "fo",
    "setsid": "",
    "nohup": "",
    "exec": "a",
    "command": "",
    "builtin": "",
    "chroot": "",
    "busybox": "",
    "watch": "n",
    "unbuffer": "",
    "strace": "eopsu",
    "flock": "wE",
}
_WORDS_BEFORE = {"timeout": 1, "chroot": 1, "flock": 1}
_NETWORK = frozenset(
    {"curl", "wget", "ssh", "scp", "sftp", "ftp", "telnet", "nc", "ncat", "netcat", "socat", "rsync", "ping", "dig"}
    | {"nslookup", "host", "traceroute", "aria2c", "lynx", "w3m", "http", "https", "gh"}
)
_NETWORK_VERBS = {
    "git": {"clone", "fetch", "pull", "push", "ls-remote"},
    "pip": {"install", "download", "wheel", "index"},
    "pip3": {"install", "download", "wheel", "index"},
    "uv": {"pip", "sync", "add", "lock", "tool"},
    "npm": {"install", "i", "ci", "add", "update", "publish", "view", "search"},
    "pnpm": {"install", "i", "add", "update"},
    "yarn": {"install", "add", "upgrade"},
    "apt": {"update", "install", "upgrade", "full-upgrade"},
    "apt-get": {"update", "install", "upgrade", "dist-upgrade"},
    "cargo": {"install", "fetch", "update", "publish"},
    "go": {"get", "install"},
    "gem": {"install", "update"},
    "docker": {"pull", "push", "login"},
    "podman": {"pull", "push", "login"},
}
_WRITES_ALL = frozenset(
    {"touch", "mkdir", "rmdir", "rm", "unlink", "shred", "truncate", "tee", "chmod", "chown", "mkfifo"}
)
_WRITES_LAST = frozenset({"cp", "install", "ln", "rsync", "scp"})
# Their first word is a pattern or a program, and may look like a path.
_PATTERN_FIRST = frozenset(
    {"grep", "egrep", "fgrep", "rg", "ag", "sed", "awk", "gawk", "mawk", "perl", "jq", "tr", "expr"}
)
_TEXT_ONLY = frozenset(
    {"echo", "printf", "export", "declare", "alias", "test", "[", "basename", "dirname", "seq", "date"}
)
_PATH = re.compile(r"[\w./~+@%,=:-]*")


@dataclass(frozen=True, slots=True)
class Inner:
    """Hold what a program runs in its turn: the words of a command, the text of a script, or a script's file."""

    words: tuple[Word, ...] = ()
    text: str | None = None
    file: Word | None = None
    python: bool = False


def name_of(word: Word) -> str:
    """Return a program's name without its folder."""
    return posixpath.basename(word.text.rstrip("/")) or word.text


def inner(words: Sequence[Word], stdin: str | None) -> Iterator[Inner]:
    """Yield what a command runs besides itself."""
    name, rest = name_of(words[0]), list(words[1:])
    if name in SHELLS or PYTHON.fullmatch(name):
        yield from _interpreted(rest, stdin, PYTHON.fullmatch(name) is not None)
    elif name == "eval":
        yield Inner(text=" ".join(word.text for word in rest))
    elif name in ("source", ".") and rest:
        yield Inner(file=rest[0])
    elif name == "trap" and len(rest) > 1:
        yield Inner(text=rest[0].text)
    elif name == "find":
        yield from _found(rest)
    elif name in _VALUED:
        yield from _wrapped(name, rest)
    elif "/" in words[0].text and not words[0].text.startswith(("/bin/", "/usr/")):
        yield Inner(file=words[0])


def _interpreted(rest: list[Word], stdin: str | None, python: bool) -> Iterator[Inner]:
    for number, word in enumerate(rest):
        if re.fullmatch(r"-[A-Za-z]*c", word.text):
            if number + 1 < len(rest):
                yield Inner(text=rest[number + 1].text, python=python)
            return
        if python and word.text == "-m":
            return
        if word.text == "-":
            break
        if not word.text.startswith("-"):
            yield Inner(file=word, python=python)
            return
    if stdin is not None:
        yield Inner(text=stdin, python=python)


def _found(rest: list[Word]) -> Iterator[Inner]:
    at = 0
    while at < len(rest):
        if rest[at].text in ("-exec", "-execdir", "-ok", "-okdir"):
            end = next((n for n in range(at, len(rest)) if rest[n].text in (";", "+")), len(rest))
            yield Inner(words=tuple(rest[at + 1 : end]))
            at = end
        at += 1


def _wrapped(name: str, rest: list[Word]) -> Iterator[Inner]:
    valued, skip = _VALUED[name], _WORDS_BEFORE.get(name, 0)
    at = 0
    while at < len(rest):
        text = rest[at].text
        if name == "env" and (text == "-S" or text.startswith("--split-string")):
            yield Inner(text=rest[at + 1].text if text == "-S" and at + 1 < len(rest) else text.partition("=")[2])
            return
        if text == "--":
            at += 1
            break
        if text.startswith("-") and len(text) > 1:
            at += 2 if len(text) == 2 and text[1] in valued else 1
        elif name in ("env", "sudo") and re.match(r"[A-Za-z_]\w*=", text):
            at += 1
        elif skip:
            at, skip = at + 1, skip - 1
        else:
            break
    if at < len(rest):
        yield Inner(words=tuple(rest[at:]))


def reaches_for_network(words: Sequence[Word]) -> bool:
    """Tell whether a command is one that needs the network."""
    name = name_of(words[0])
    if name in _NETWORK:
        return True
    verbs = _NETWORK_VERBS.get(name, ())
    operands = [word.text for word in words[1:] if not word.text.startswith("-")]
    return bool(operands) and operands[0] in verbs


def written(words: Sequence[Word]) -> list[Word]:
    """Return the words of a command that name what it writes, changes or deletes."""
    name, operands = name_of(words[0]), _operands(words)
    texts = [word.text for word in words[1:]]
    if name in _WRITES_ALL:
        return operands[1:] if name in ("chmod", "chown") else operands
    if name == "mv":
        return operands
    if name in _WRITES_LAST:
        return operands[-1:] if len(operands) > 1 else []
    if name == "sed" and any(re.match(r"-[a-zA-Z]*i|--in-place", text) for text in texts):
        return _without_scripts(words)
    if name == "dd":
        return [Word(text[3:]) for text in texts if text.startswith("of=")]
    if name == "find" and "-delete" in texts:
        return operands[:1]
    return []


def paths(words: Sequence[Word]) -> list[Word]:
    """Return the words of a command that may be paths leading somewhere else: absolute ones, and those with `..`."""
    name, operands = name_of(words[0]), _operands(words)
    if name in _TEXT_ONLY:
        return []
    if name in _PATTERN_FIRST:
        operands = operands[1:]
    return [word for word in operands if _leads_away(word.text)]


def _operands(words: Sequence[Word]) -> list[Word]:
    return [word for word in words[1:] if word.text and not word.text.startswith("-")]


def _without_scripts(words: Sequence[Word]) -> list[Word]:
    """Return the files among the words of sed: its script is the first operand, or stands behind `-e` and `-f`."""
    options = ("-e", "-f", "--expression", "--file")
    named = [number for number, word in enumerate(words) if word.text in options]
    rest = [word for number, word in enumerate(words) if number - 1 not in named]
    attached = any(word.text.startswith(("-e", "--expression=", "--file=")) for word in words)
    return _operands(rest)[0 if named or attached else 1 :]


def _leads_away(text: str) -> bool:
    away = text.startswith(("/", "~/")) or text == "~" or ".." in text.split("/")
    return away and _PATH.fullmatch(text) is not None and "//" not in text
