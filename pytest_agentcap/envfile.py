"""`.env`: variables that count where the environment does not have them; nobody is ever shown their values."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NAME = ".env"


class EnvFileError(ValueError):
    """Say which line of the file cannot be read, and never what it holds."""


@dataclass(frozen=True, slots=True)
class EnvFile:
    """Hold which variables of which file were put into this process's environment."""

    path: Path
    names: tuple[str, ...]

    @property
    def told(self) -> str:
        """Return a line for people: names alone."""
        return f"{self.path}: {', '.join(self.names) or 'nothing that the environment does not have'}"

    def forget(self) -> None:
        """Take them out again."""
        for name in self.names:
            os.environ.pop(name, None)


def load_env_file(*folders: Path) -> EnvFile | None:
    """Put the variables of the first folder's `.env` into the environment; None when no folder has one.

    A variable that the environment has stays, an empty one too; what is empty in the file is as if it were not there.
    Values are taken as they are: `$` is a character like any other. Raises EnvFileError.
    """
    path = next((folder / NAME for folder in folders if (folder / NAME).is_file()), None)
    if path is None:
        return None
    found = {name: value for name, value in _bindings(path) if value and name not in os.environ}
    os.environ.update(found)
    return EnvFile(path, tuple(found))


def _bindings(path: Path) -> Iterator[tuple[str, str | None]]:
    from dotenv.parser import parse_stream

    try:
        with path.open(encoding="utf-8-sig") as file:
            for binding in parse_stream(file):
                if binding.error or (binding.key is not None and not binding.key.isidentifier()):
                    raise EnvFileError(f"{path}:{binding.original.line}: write one NAME=value a line")
                if binding.key is not None:
                    yield binding.key, binding.value
    except UnicodeDecodeError as error:
        raise EnvFileError(f"{path}: not UTF-8 at byte {error.start}: save it as UTF-8") from error
