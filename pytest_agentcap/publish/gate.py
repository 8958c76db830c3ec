"""The gate before a push: nothing passes that a scanner says is a secret that works, or that no scanner looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_agentcap.publish.parquet_rows import parquet_documents
from pytest_agentcap.publish.publisher import Passed
from pytest_agentcap.publish.redact import redaction, replaceable
from pytest_agentcap.publish.remote import PushError
from pytest_agentcap.publish.scan import Document, Hit, Scan, scan_documents
from pytest_agentcap.publish.scanned_run import scan_run
from pytest_agentcap.publish.scanners import INSTALL_HINT, ScanError, Scanner, find_scanner
from pytest_agentcap.runs.layout import RunDirectory

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class GateOptions:
    """Say how to scan: `strict` takes an unverified hit for a secret too, `redact` replaces hits instead of refusing.

    `verify` asks those whom a secret is for whether it works; `config` is a configuration file of the scanner's own.
    """

    strict: bool = False
    redact: bool = False
    rescan: bool = False
    verify: bool = True
    config: Path | None = None


@dataclass(frozen=True, slots=True)
class SecretGate:
    """Let a run through when its scan is clean; `say` is told of hits that do not block."""

    scanner: Scanner
    options: GateOptions
    say: Callable[[str], None]

    @classmethod
    def open(cls, options: GateOptions, say: Callable[[str], None]) -> SecretGate:
        """Find a scanner.

        Raises PushError that says how to get one.
        """
        try:
            return cls(find_scanner(), options, say)
        except ScanError as error:
            raise PushError(str(error)) from error

    def check(self, source: RunDirectory | Path) -> Passed:
        """Scan a run, or a captures parquet; raise PushError naming file, call and detector of what may not go out."""
        options = self.options
        name = source.id if isinstance(source, RunDirectory) else source.name
        try:
            if isinstance(source, RunDirectory):
                scan = scan_run(
                    source,
                    self.scanner,
                    verify=options.verify,
                    config=options.config,
                    rescan=options.rescan,
                    with_secrets=options.redact,
                )
            else:
                scan = self._scan(parquet_documents(source))
        except (ScanError, OSError) as error:
            raise _failed(name, error) from error
        return self._judge(name, scan)

    def confirm(self, name: str, documents: Iterable[Document]) -> None:
        """Scan what is published after secrets were replaced in it; raise PushError when one is still there."""
        try:
            scan = self._scan(documents)
        except (ScanError, OSError) as error:
            raise _failed(name, error) from error
        left = scan.hits if self.options.strict else scan.verified
        if left:
            raise PushError(f"{name}: a secret is still there after redaction: {_list(left)}")
        for line in _told(name, scan.unverified):
            self.say(line)

    def _scan(self, documents: Iterable[Document]) -> Scan:
        return scan_documents(documents, self.scanner, verify=self.options.verify, config=self.options.config)

    def _judge(self, name: str, scan: Scan) -> Passed:
        blocking = scan.hits if self.options.strict else scan.verified
        secrets = {hit.secret for hit in scan.hits if hit.secret and replaceable(hit.secret)}
        if self.options.redact:
            blocking = tuple(hit for hit in blocking if hit.secret not in secrets)
        if blocking:
            what = "a secret that works" if blocking[0].verified else "what may be a secret"
            raise PushError(
                f"{name} holds {what}: {_list(blocking)}; revoke it and pass --rescan, or pass --redact to replace it"
            )
        replaced = tuple(hit for hit in scan.hits if self.options.redact and hit.secret in secrets)
        for line in _told(name, [hit for hit in scan.unverified if hit not in replaced]):
            self.say(line)
        if replaced:
            self.say(f"{name}: replaced before publishing: {_list(replaced)}")
        summary = {
            "scanner": scan.scanner,
            "version": scan.version,
            "verified": len(scan.verified),
            "unverified": len(scan.unverified),
            **({"replaced": len(replaced)} if replaced else {}),
        }
        return Passed(summary, redaction(secrets if self.options.redact else ()))


def _failed(name: str, error: Exception) -> PushError:
    hint = "" if INSTALL_HINT in str(error) else ": mend that, or pass --no-scan to publish without a scan"
    return PushError(f"{name} was not scanned for secrets: {error}{hint}")


def _told(name: str, hits: Sequence[Hit]) -> Iterator[str]:
    for hit in hits[:_SHOWN]:
        yield f"{name}: {hit}"
    if len(hits) > _SHOWN:
        yield f"{name}: {len(hits) - _SHOWN} more unverified hits are listed in scan.json"


def _list(hits: Sequence[Hit]) -> str:
    more = f", and {len(hits) - 3} more" if len(hits) > 3 else ""
    return "; ".join(map(str, hits[:3])) + more
