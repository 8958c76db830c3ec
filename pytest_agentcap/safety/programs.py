"""What single programs run in their turn, told by their words."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_agentcap.safety import other_code
from pytest_agentcap.safety.commands import Word

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
    "coproc": "",
    "parallel": "jnNLaSI",
    "npx": "pc",
}
_WORDS_BEFORE = {"timeout": 1, "chroot": 1, "flock": 1}
_LONG_VALUED = frozenset(
    {"--max-args", "--max-procs", "--max-chars", "--delimiter", "--arg-file", "--signal", "--kill-after", "--unset"}
    | {"--chdir", "--user", "--group", "--adjustment", "--class", "--classdata", "--host", "--chroot", "--jobs"}
)
# Programs that run the words behind one of theirs.
_RUNNERS = {"uv": "run", "poetry": "run", "pipenv": "run", "hatch": "run", "npm": "exec", "bundle": "exec"}
# Programs with an option behind which a shell command stands, in a word of its own or behind `=`.
_COMMAND_OPTIONS = {
    "script": ("-c", "--command"),
    "su": ("-c", "--command"),
    "runuser": ("-c", "--command"),
    "flock": ("-c", "--command"),
    "tar": ("--to-command", "--use-compress-program", "-I", "--checkpoint-action"),
    "git": ("-x", "--exec"),
}
# Programs that take what stands behind an exclamation mark for a shell command.
_EXCLAIMED = {
    "git": re.compile(r"(?:alias\.[^=]+=)?!(.+)", re.DOTALL),
    **dict.fromkeys(("vim", "vi", "nvim", "ex", "view"), re.compile(r"[^!]*!(.+)", re.DOTALL)),
}
_RECIPE = re.compile(r"^\t[@+-]*(.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Inner:
    """Hold what a program runs in its turn: the words of a command, the text of a script, or a script's file.

    `code` is a program in another language than shell and Python.
    """

    words: tuple[Word, ...] = ()
    text: str | None = None
    file: Word | None = None
    python: bool = False
    code: str | None = None


def name_of(word: Word) -> str:
    """Return a program's name without its folder."""
    return posixpath.basename(word.text.rstrip("/")) or word.text


def inner(words: Sequence[Word], stdin: str | None) -> Iterator[Inner]:
    """Yield what a command runs besides itself."""
    name, rest = name_of(words[0]), list(words[1:])
    if name in SHELLS or PYTHON.fullmatch(name):
        yield from _interpreted(rest, stdin, PYTHON.fullmatch(name) is not None)
    elif name in other_code.INTERPRETERS:
        yield from (Inner(code=code) for code in other_code.programs(name, [word.text for word in rest]))
    elif name == "eval":
        yield Inner(text=" ".join(word.text for word in rest))
    elif name in ("source", ".") and rest:
        yield _script_file(rest[0])
    elif name == "trap" and len(rest) > 1:
        yield Inner(text=rest[0].text)
    elif name == "alias":
        yield from (Inner(text=word.text.partition("=")[2]) for word in rest if "=" in word.text)
    elif name == "find":
        yield from _found(rest)
    elif name in _VALUED:
        yield from _wrapped(name, rest)
    elif _RUNNERS.get(name) in [word.text for word in rest[:1]]:
        yield from _wrapped(name, rest[1:])
    elif "/" in words[0].text and not words[0].text.startswith(("/bin/", "/usr/")):
        yield Inner(file=words[0])
    yield from (Inner(text=text) for text in _told_commands(name, rest, stdin))


def _script_file(word: Word, python: bool = False) -> Inner:
    return Inner(text=word.content, python=python) if word.content is not None else Inner(file=word, python=python)


def _interpreted(rest: list[Word], stdin: str | None, python: bool) -> Iterator[Inner]:
    skip = False
    for number, word in enumerate(rest):
        if skip:
            skip = False
        elif re.fullmatch(r"-[A-Za-z]*c", word.text):
            told = [each for each in rest[number + 1 :] if each.text != "--"]
            yield from (Inner(text=each.text, python=python) for each in told[:1])
            return
        elif python and word.text == "-m":
            return
        elif word.text == "-":
            break
        elif not word.text.startswith(("-", "+")):
            yield _script_file(word, python)
            return
        else:
            skip = not python and re.fullmatch(r"[-+][A-Za-z]*[oO]|--(?:rcfile|init-file)", word.text) is not None
    if stdin is not None:
        yield Inner(text=stdin, python=python)


def _told_commands(name: str, rest: list[Word], stdin: str | None) -> Iterator[str]:
    """Yield the shell commands that stand in words of programs which are no shells."""
    options = _COMMAND_OPTIONS.get(name, ())
    for number, word in enumerate(rest):
        option, equals, value = word.text.partition("=")
        if equals and option in options:
            yield value.removeprefix("exec=")
        elif word.text in options and number + 1 < len(rest):
            yield rest[number + 1].text
        elif name in _EXCLAIMED and (found := _EXCLAIMED[name].match(word.text)):
            yield found[1]
    if name == "make" and stdin is not None:
        yield from _RECIPE.findall(stdin)


def _found(rest: list[Word]) -> Iterator[Inner]:
    at = 0
    while at < len(rest):
        if rest[at].text in ("-exec", "-execdir", "-ok", "-okdir"):
            end = next((n for n in range(at, len(rest)) if rest[n].text in (";", "+")), len(rest))
            yield Inner(words=tuple(rest[at + 1 : end]))
            at = end
        at += 1


def _wrapped(name: str, rest: list[Word]) -> Iterator[Inner]:
    valued, skip = _VALUED.get(name, ""), _WORDS_BEFORE.get(name, 0)
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
            at += 2 if (len(text) == 2 and text[1] in valued) or text in _LONG_VALUED else 1
        elif name in ("env", "sudo") and re.match(r"[A-Za-z_]\w*=", text):
            at += 1
        elif skip:
            at, skip = at + 1, skip - 1
        else:
            break
    if at < len(rest):
        yield Inner(words=tuple(rest[at:]))
