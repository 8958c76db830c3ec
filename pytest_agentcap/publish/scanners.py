"""Secret scanners as programs: found, run on a folder of texts, and believed only when they say all of it was read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

INSTALL_HINT = "pip install 'pytest-agentcap[scan]', or pass --no-scan to publish without a scan"
_UNDECIDED = frozenset({"unavailable", "unknown"})


class ScanError(Exception):
    """Say in one line why there was no scan, or why what it says cannot be relied on."""


@dataclass(frozen=True, slots=True)
class Match:
    """Hold one match: which detector, in which file of the folder, and the secret itself.

    `verified` says that the secret works; `undecided` that the scanner tried to find out and could not.
    """

    detector: str
    file: str
    secret: str = field(repr=False)
    verified: bool
    undecided: bool = False


@dataclass(frozen=True, slots=True)
class ScanReport:
    """Tell what a scanner found, and how much it says it read; a chunk is a file, or a part of one."""

    version: str
    matches: tuple[Match, ...]
    bytes: int
    chunks: int


class Scanner(Protocol):
    """Look for secrets in the files of a folder."""

    @property
    def name(self) -> str: ...

    def scan(self, folder: Path, *, verify: bool, config: Path | None) -> ScanReport:
        """Scan all files; `verify` asks those whom a secret is for whether it works.

        Raises ScanError when the program breaks, or says anything that is not understood.
        """


def find_scanner() -> Scanner:
    """Return trufflehog when it is there, else kingfisher.

    Raises ScanError that says how to get one.
    """
    for kind in (Trufflehog, Kingfisher):
        # A virtual environment need not be active for its programs to be used.
        places = [os.environ.get("PATH", os.defpath), str(Path.home() / ".local/bin"), str(Path(sys.executable).parent)]
        program = shutil.which(kind.name, path=os.pathsep.join(places))
        if program:
            scanner: Scanner = kind(program)
            return scanner
    raise ScanError(f"no secret scanner is installed: {INSTALL_HINT}")


@dataclass(frozen=True, slots=True)
class Kingfisher:
    """Run kingfisher; its exit status is 0, 200 with findings, 205 with secrets that work."""

    program: str
    name = "kingfisher"

    def scan(self, folder: Path, *, verify: bool, config: Path | None) -> ScanReport:
        command = [self.program, "scan", str(folder), "--format", "json", "--quiet", "--no-update-check", "--no-dedup"]
        # Nothing in a capture may say that it is not to be looked at: no marks, no sizes, no names of files.
        command += ["--no-ignore", "--no-extract-archives", "--max-file-size", "0"]
        command += [] if verify else ["--no-validate"]
        command += ["--config", str(config)] if config else []
        done = _run(self.name, command, (0, 200, 205))
        try:
            report = json.loads(done.stdout.split(b"\n", 1)[0])
            audit, told = report["audit"]["summary"], report["metadata"]
            matches = tuple(_kingfisher_match(finding) for finding in report["findings"])
            sums = told["summary"]
            whole = audit["scan_failed"] == audit["scan_partial"] == 0 and sums["findings"] == len(matches)
            agreed = sums["active_findings"] == sum(match.verified for match in matches)
            result = ScanReport(told["kingfisher_version"], matches, sums["bytes_scanned"], sums["blobs_scanned"])
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ScanError(f"kingfisher printed what is no report of it: {error!r}") from error
        if not (whole and agreed and (done.returncode == 205) == any(match.verified for match in matches)):
            raise ScanError("kingfisher's report contradicts itself")
        size = sum(path.stat().st_size for path in folder.iterdir())
        if result.bytes < size:
            raise ScanError(f"kingfisher read {result.bytes} of {size} bytes")
        return result


def _kingfisher_match(finding: Any) -> Match:
    found = finding["finding"]
    outcome = found["validation"]["outcome"]
    return Match(
        str(finding["rule"]["id"]),
        Path(found["path"]).name,
        str(found["snippet"]),
        verified=outcome == "verified_active",
        undecided=outcome in _UNDECIDED,
    )


@dataclass(frozen=True, slots=True)
class Trufflehog:
    """Run trufflehog; findings are lines of JSON on its standard output, its log tells on the other when it is done."""

    program: str
    name = "trufflehog"

    def scan(self, folder: Path, *, verify: bool, config: Path | None) -> ScanReport:
        command = [self.program, "filesystem", str(folder), "--json", "--no-color", "--no-update"]
        command += ["--results=verified,unverified,unknown"] if verify else ["--no-verification"]
        command += [f"--config={config}"] if config else []
        done = _run(self.name, command, (0, 183))
        try:
            matches = tuple(_trufflehog_match(json.loads(line)) for line in done.stdout.splitlines() if line.strip())
            end = next(log for log in _log(done.stderr) if "finished scanning" in str(log["msg"]))
            result = ScanReport(str(end.get("trufflehog_version", "?")), matches, int(end["bytes"]), int(end["chunks"]))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ScanError(f"trufflehog printed what is no report of it: {error!r}") from error
        except StopIteration:
            raise ScanError(f"trufflehog did not say that it finished: {_first_line(done.stderr)}") from None
        if any("encountered errors" in str(log["msg"]) for log in _log(done.stderr)):
            raise ScanError(f"trufflehog could not read everything: {_first_line(done.stderr)}")
        return result


def _trufflehog_match(record: Any) -> Match:
    file = Path(record["SourceMetadata"]["Data"]["Filesystem"]["file"]).name
    verified = record["Verified"]
    if not isinstance(verified, bool):
        raise ValueError(f"Verified is {verified!r}")
    detector = str(record["DetectorName"])
    extra = record.get("ExtraData")
    if detector == "CustomRegex" and isinstance(extra, dict) and extra.get("name"):
        detector = str(extra["name"])
    return Match(detector, file, str(record["Raw"]), verified, undecided=bool(record.get("VerificationError")))


def _log(stderr: bytes) -> Iterator[dict[str, Any]]:
    """Yield the lines of trufflehog's log that are JSON objects."""
    for line in stderr.splitlines():
        _, brace, rest = line.partition(b"{")
        try:
            record = json.loads(brace + rest)
        except ValueError:
            continue
        if isinstance(record, dict):
            # Without a JSON log the message stands before the figures.
            yield {"msg": line[: len(line) - len(rest)].decode("utf-8", "replace"), **record}


def _run(name: str, command: Sequence[str], good: Sequence[int]) -> subprocess.CompletedProcess[bytes]:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError as error:
        raise ScanError(f"{command[0]} cannot be run: {error}") from error
    if done.returncode not in good:
        raise ScanError(f"{name} failed (exit {done.returncode}): {_first_line(done.stderr)}")
    return done


def _first_line(output: bytes) -> str:
    lines = [line.strip() for line in output.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[0][:300] if lines else "it printed nothing"
