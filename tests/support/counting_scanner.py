"""A scanner that looks for given words."""

from __future__ import annotations

from pathlib import Path

from pytest_agentcap.publish.scanners import Match, ScanReport


class Counting:
    """A scanner that finds what it is told to, and counts how often it was asked."""

    name = "counting"

    def __init__(self, *found: tuple[str, bool, bool]) -> None:
        self.found, self.asked = found, 0

    def scan(self, folder: Path, *, verify: bool, config: Path | None) -> ScanReport:
        self.asked += 1
        matches = []
        for path in sorted(folder.iterdir()):
            text = path.read_text()
            for secret, verified, undecided in self.found:
                if secret in text:
                    matches.append(Match("Gx", path.name, secret, verified and verify, undecided))
        size = sum(path.stat().st_size for path in folder.iterdir())
        return ScanReport("1", tuple(matches), size, len(list(folder.iterdir())))
