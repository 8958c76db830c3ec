"""Which words of a command are files that it writes, and which lead somewhere else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from pytest_agentcap.safety.commands import Word
from pytest_agentcap.safety.programs import name_of

_WRITES_ALL = frozenset(
    {"touch", "mkdir", "rmdir", "rm", "unlink", "shred", "truncate", "tee", "chmod", "chown", "mkfifo", "mv"}
)
_WRITES_LAST = frozenset({"cp", "install", "ln", "rsync", "scp"})
# Options that name what is written: then no other word does.
_TARGETS: Mapping[str, tuple[str, ...]] = {
    "cp": ("-t", "--target-directory"),
    "install": ("-t", "--target-directory"),
    "ln": ("-t", "--target-directory"),
    "sort": ("-o", "--output"),
    "curl": ("-o", "--output", "--output-dir"),
    "wget": ("-O", "--output-document", "-P", "--directory-prefix"),
    "unzip": ("-d",),
    "gcc": ("-o",),
    "cc": ("-o",),
    "g++": ("-o",),
    "go": ("-o",),
}
_IN_PLACE = re.compile(r"-[a-zA-Z]*i.*|--in-place(?:=.*)?")
_EXTRACTS = re.compile(r"-?[a-zA-Z]*x[a-zA-Z]*|--extract|--get")
_AWK_WRITES = re.compile(r'print[^>"]*(?:"[^"]*"[^>"]*)*>>?\s*"([^"]+)"')
_AWK_CHARS = 4096
# Their first word is a pattern or a program, and may look like a path.
_PATTERN_FIRST = frozenset(
    {"grep", "egrep", "fgrep", "rg", "ag", "sed", "awk", "gawk", "mawk", "perl", "jq", "tr", "expr"}
)
_AWKS = frozenset({"awk", "gawk", "mawk"})
_TEXT_ONLY = frozenset(
    {"echo", "printf", "export", "declare", "alias", "test", "[", "basename", "dirname", "seq", "date"}
)
_PATH = re.compile(r"[\w./~+@%,=:*?\[\]{}!-]*")
_TOP = re.compile(r"//+(?:bin|boot|dev|etc|home|lib|mnt|opt|proc|root|run|srv|sys|usr|var)(?:/.*)?")


def written(words: Sequence[Word]) -> list[Word]:
    """Return the words of a command that name what it writes, changes or deletes."""
    name, operands = name_of(words[0]), _operands(words)
    texts = [word.text for word in words[1:]]
    named = list(_named(words[1:], _TARGETS.get(name, ())))
    if named:
        return named
    if name in _WRITES_ALL:
        return operands[1:] if name in ("chmod", "chown") else operands
    if name in _WRITES_LAST:
        return operands[-1:] if len(operands) > 1 else []
    if name in ("sed", "perl") and any(_IN_PLACE.fullmatch(text) for text in texts):
        return _without_scripts(words)
    if name == "dd":
        return [Word(text[3:]) for text in texts if text.startswith("of=")]
    if name == "find" and "-delete" in texts:
        return operands[:1]
    if name == "tar" and any(_EXTRACTS.fullmatch(text) for text in texts[:1] + [t for t in texts if t[:1] == "-"]):
        return list(_named(words[1:], ("-C", "--directory")))
    if name == "patch":
        return operands[:1]
    if name in _AWKS:
        return [Word(path) for text in texts for path in _AWK_WRITES.findall(text[:_AWK_CHARS])]
    return []


def paths(words: Sequence[Word]) -> list[Word]:
    """Return the words of a command that may be paths leading somewhere else: absolute ones, and those with `..`."""
    name, operands = name_of(words[0]), _operands(words)
    if name in _TEXT_ONLY:
        return []
    if name in _PATTERN_FIRST and not any(word.text in ("-f", "--file") for word in words):
        operands = operands[1:]
    given = [Word(word.text[7:], word.known) for word in words if word.text.startswith("--file=")]
    return [word for word in (*operands, *given) if _leads_away(word.text)]


def copied(words: Sequence[Word]) -> tuple[str, str] | None:
    """Return the file that a command copies or moves, and the other; None when it is no such command."""
    operands = _operands(words)
    if name_of(words[0]) not in ("cp", "mv", "install", "ln") or len(operands) != 2:
        return None
    source, target = (word.text for word in operands)
    return source, target + source.rpartition("/")[2] if target.endswith("/") else target


def _named(words: Sequence[Word], options: Sequence[str]) -> Iterator[Word]:
    for number, word in enumerate(words):
        if word.text in options and number + 1 < len(words):
            yield words[number + 1]
        elif word.text.partition("=")[0] in options and "=" in word.text:
            yield Word(word.text.partition("=")[2], word.known)


def _operands(words: Sequence[Word]) -> list[Word]:
    return [word for word in words[1:] if word.text and not word.text.startswith("-")]


def _without_scripts(words: Sequence[Word]) -> list[Word]:
    """Return the files among the words of sed or perl: a script is the first operand, or stands behind its option."""
    named = [number for number, word in enumerate(words) if _takes_script(word.text)]
    rest = [word for number, word in enumerate(words) if number - 1 not in named]
    attached = any(re.match(r"-[eEf].|--(?:expression|file)=", word.text) for word in words)
    return _operands(rest)[0 if named or attached else 1 :]


def _takes_script(text: str) -> bool:
    return text in ("--expression", "--file") or re.fullmatch(r"-[a-zA-Z]*[eEf]", text) is not None


def _leads_away(text: str) -> bool:
    if text.startswith("file://") or _TOP.fullmatch(text):
        return True
    away = text.startswith(("/", "~/")) or text == "~" or ".." in text.split("/")
    return away and _PATH.fullmatch(text) is not None and "//" not in text
