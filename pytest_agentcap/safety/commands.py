"""The parts of a shell script: words, redirections, simple commands, and what these print."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

_ECHO_OPTION = re.compile(r"-[neE]+|--")


@dataclass(frozen=True, slots=True)
class Word:
    """Hold one word as the shell would hand it over; `known` is false where that depends on what is not in the text.

    `content` is what a process substitution, which stands for a file, would hold as far as the text tells.
    """

    text: str
    known: bool = True
    content: str | None = None


@dataclass(frozen=True, slots=True)
class Redirect:
    """Hold a file that a command's input or output is."""

    target: Word
    writes: bool
    appends: bool = False


@dataclass(frozen=True, slots=True)
class SimpleCommand:
    """Hold one command: its words, the files of its redirections, and its standard input as far as the text tells.

    `scope` names the subshells around it, outermost first: what `cd` does in one ends with it. Without words it is the
    redirection of a compound command. `source` is the file that its standard input comes from, if it is one.
    """

    words: tuple[Word, ...]
    redirects: tuple[Redirect, ...] = ()
    stdin: str | None = None
    scope: tuple[int, ...] = ()
    source: Word | None = None

    @property
    def printed(self) -> str | None:
        """Return what it prints when the text tells: that of echo, printf, base64, and cat without a file."""
        texts = [word.text for word in self.words]
        if not texts or not all(word.known for word in self.words):
            return None
        match texts[0]:
            case "echo":
                return " ".join(_after_options(texts[1:]))
            case "printf":
                return _formatted(_after_options(texts[1:]))
            case "base64" if {"-d", "-D", "--decode"} & set(texts):
                return _unpacked(self.stdin)
            case "cat" if len(texts) == 1:
                return self.stdin
            case _:
                return None


@dataclass(frozen=True, slots=True)
class Script:
    """Hold the commands of a script in their order, and the functions it defines; `whole` is false when a part of it
    is no shell.
    """

    commands: tuple[SimpleCommand, ...]
    functions: frozenset[str]
    whole: bool


def _after_options(words: list[str]) -> list[str]:
    at = next((number for number, word in enumerate(words) if not _ECHO_OPTION.fullmatch(word)), len(words))
    return words[at:]


def _formatted(words: list[str]) -> str:
    # printf's first word is mostly a format, and its other words are then the lines.
    return "\n".join([" ".join(words), *words[1:]])


def _unpacked(text: str | None) -> str | None:
    try:
        return None if text is None else base64.b64decode(text).decode()
    except (binascii.Error, ValueError):
        return None
