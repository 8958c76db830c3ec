"""A secret scan of what is published: documents laid out as plain text, scanned, and told without the secrets."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pytest_agentcap.publish.plaintext import plain_pieces
from pytest_agentcap.publish.scanners import ScanError, Scanner, ScanReport
from pytest_agentcap.runs.masking import PLACEHOLDER

_SHOWN_CHARS = 4
# A line that says so would be passed over; what an agent read or wrote has no say in that.
_DIRECTIVES = (b"trufflehog:ignore", b"kingfisher:ignore", b"kingfisher:allow", b"gitleaks:allow", b"betterleaks:allow")


@dataclass(frozen=True, slots=True)
class Document:
    """Name a document that is scanned: its path, the call that it is of, and its content."""

    file: str
    rid: str | None
    data: bytes


@dataclass(frozen=True, slots=True)
class Hit:
    """Tell a secret that was found: by which detector, where first, and whether it works.

    `raw` is masked. `secret` is what it hides, None when the hit was read back from a file.
    """

    detector: str
    file: str
    rid: str | None
    verified: bool
    raw: str
    undecided: bool = False
    secret: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        call = f" (call {self.rid})" if self.rid else ""
        state = "works" if self.verified else "could not be checked" if self.undecided else "not verified"
        return f"{self.file}{call}: {self.detector}: {self.raw}, {state}"


@dataclass(frozen=True, slots=True)
class Scan:
    """Tell what a scan found and how it was made; `bytes` and `chunks` are of the plain text."""

    scanner: str
    version: str
    verify: bool
    hits: tuple[Hit, ...]
    bytes: int
    chunks: int

    @property
    def verified(self) -> tuple[Hit, ...]:
        return tuple(hit for hit in self.hits if hit.verified)

    @property
    def unverified(self) -> tuple[Hit, ...]:
        return tuple(hit for hit in self.hits if not hit.verified)


def scan_documents(
    documents: Iterable[Document], scanner: Scanner, *, verify: bool = True, config: Path | None = None
) -> Scan:
    """Scan documents with a program; `config` is a configuration file of its own.

    A text that several documents share is scanned once, and a hit in it is told of the first. Raises ScanError.
    """
    # On disk for as long as the scan takes, in a folder that nobody else may enter.
    with tempfile.TemporaryDirectory(prefix="agentcap-scan-") as name:
        folder = Path(name)
        laid = _lay_out(documents, folder)
        report = scanner.scan(folder, verify=verify, config=config) if laid.documents else ScanReport("?", (), 0, 0)
        if report.chunks < len(laid.documents):
            raise ScanError(f"{scanner.name} read {report.chunks} of {len(laid.documents)} documents")
    return Scan(scanner.name, report.version, verify, _hits(report, laid), report.bytes, report.chunks)


@dataclass(slots=True)
class _LaidOut:
    """Remember which file of the folder is of which document."""

    documents: dict[str, Document] = field(default_factory=dict)


def _lay_out(documents: Iterable[Document], folder: Path) -> _LaidOut:
    """Write each document's text to a file of a neutral name: scanners pass over some names."""
    laid = _LaidOut()
    seen: set[bytes] = set()
    for document in documents:
        new = []
        for piece in plain_pieces(document.data):
            digest = hashlib.blake2b(piece, digest_size=16).digest()
            if digest not in seen:
                seen.add(digest)
                new.append(piece)
        text = _without_directives(b"\n".join(new))
        if text:
            name = f"{len(laid.documents):07d}.txt"
            (folder / name).write_bytes(text)
            laid.documents[name] = Document(document.file, document.rid, b"")
    return laid


def _without_directives(text: bytes) -> bytes:
    for directive in _DIRECTIVES:
        text = text.replace(directive, directive.replace(b":", b" "))
    return text


def _hits(report: ScanReport, laid: _LaidOut) -> tuple[Hit, ...]:
    """Tell each secret once for each document, with what is known best of it."""
    hits: dict[tuple[str, str, str], Hit] = {}
    for match in report.matches:
        document = laid.documents.get(match.file)
        if document is None:
            raise ScanError(f"a secret was found in {match.file}, which was not handed over")
        if PLACEHOLDER in match.secret and not match.verified:
            continue
        key = (document.file, match.detector, match.secret)
        if key not in hits or match.verified:
            raw = masked(match.secret)
            hits[key] = Hit(
                match.detector, document.file, document.rid, match.verified, raw, match.undecided, match.secret
            )
    return tuple(sorted(hits.values(), key=lambda hit: (not hit.verified, hit.file, hit.detector)))


def masked(secret: str) -> str:
    """Return enough of a secret to know it again by, for one who has it; of a short one nothing."""
    shown = secret[:_SHOWN_CHARS] if len(secret) >= 4 * _SHOWN_CHARS else ""
    return f"{shown}… ({len(secret)} characters)"
