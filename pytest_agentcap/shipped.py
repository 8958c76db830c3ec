"""The data that comes with the package: agents and corpora."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def packaged(folder: str) -> Path:
    """Return a data folder (`agents` or `corpora`) of the installed package, or of the checkout it runs from."""
    package = Path(str(files("pytest_agentcap")))
    installed = package / "_data" / folder
    return installed if installed.is_dir() else package.parent / folder
