"""The oracles of this corpus: each computes a value from a checkout, and runs nothing that is in it."""

from __future__ import annotations

import ast
import csv
import re
import tomllib
from datetime import date
from pathlib import Path

RELEASE = re.compile(r"^## (\S+) \((\d{4}-\d\d-\d\d)\)$", re.MULTILINE)


def public_functions(*, repo_root: Path, package: str) -> list[str]:
    """Return `module.function` of each public function at the top level of a package's modules."""
    found = []
    for path in sorted((repo_root / package).glob("*.py")):
        nodes = ast.parse(path.read_text("utf-8")).body
        names = [node.name for node in nodes if isinstance(node, ast.FunctionDef)]
        found += [f"{path.stem}.{name}" for name in names if not name.startswith("_")]
    return found


def balances(*, repo_root: Path) -> dict[str, float]:
    """Return the sum of each account over all books, in euros rounded to cents."""
    sums: dict[str, float] = {}
    for path in sorted((repo_root / "books").glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                sums[row["account"]] = sums.get(row["account"], 0.0) + float(row["amount"])
    return {account: round(amount, 2) for account, amount in sums.items()}


def balance(*, repo_root: Path) -> float:
    """Return the sum of all amounts."""
    return sum(balances(repo_root=repo_root).values())


def newest_release(*, repo_root: Path) -> dict[str, str]:
    """Return version and date of the release that appeared last."""
    version, day = max(_releases(repo_root), key=lambda release: release[1])
    return {"version": version, "date": day}


def days_between_releases(*, repo_root: Path) -> int:
    """Return the days from the first release to the newest."""
    days = sorted(date.fromisoformat(day) for _, day in _releases(repo_root))
    return (days[-1] - days[0]).days


def server_moved(*, repo_root: Path) -> bool:
    """Tell whether the server's host and port are the new ones, and all else of the file is as it was."""
    try:
        text = (repo_root / "config/app.toml").read_text("utf-8")
        settings = tomllib.loads(text)
    except (OSError, ValueError):
        return False
    wanted = {"server": {"host": "127.0.0.1", "port": 8443}, "books": {"folder": "books", "currency": "EUR"}}
    return settings == wanted and text.startswith("# Restarted by hand after changes.\n")


def _releases(repo_root: Path) -> list[tuple[str, str]]:
    return RELEASE.findall((repo_root / "CHANGELOG.md").read_text("utf-8"))
