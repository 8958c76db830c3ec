"""The process that turns journals into pair files while sessions run; `PairWriter` starts it and talks to it.

It is given its owner's process id, and reads JSON lines: first the secrets to mask, then orders. Journals are looked at
several times a second; one that has grown since is let alone, for a few seconds at most, because its proxy is at work
and needs the processor. When its standard input ends, it does what can be done and leaves. The journals of an owner
that was killed it finishes: nobody else knows all that was to be masked.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import time
from pathlib import Path
from typing import Any

from pytest_agentcap.runs.pairs import PairMaker

_EVERY_S = 0.1
_NICENESS = 10
_PATIENCE_S = 5.0
_LOOKS = 50
_LOOK_S = 0.02


class Pairing:
    """Keep the pair makers of the journals that are being written; `answer` is what the owner hears."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self._secrets = secrets
        self._makers: dict[str, PairMaker] = {}
        self._retired: set[str] = set()
        self._dismissed = False
        self._bytes_seen = 0
        self._rested_at = time.monotonic()

    def obey(self, order: dict[str, Any]) -> dict[str, Any] | None:
        """Begin to follow a journal, or note that it is retired, or finish it and answer for it.

        An owner that has `dismiss`ed this process ends on purpose, and keeps the journals that it has not named.
        """
        if order["do"] == "dismiss":
            self._dismissed = True
            return None
        journal = order["journal"]
        maker = self._makers.get(journal) or PairMaker(Path(journal), Path(order["captures"]), self._secrets)
        self._makers[journal] = maker
        if order["do"] == "retire":
            self._retired.add(journal)
        if order["do"] != "finish":
            return None
        return {"journal": journal, "error": self._finish(journal)}

    def is_due(self) -> bool:
        """Tell whether no journal has grown since this was last asked, or that has not happened for too long."""
        size = sum(_size(maker.journal) for maker in self._makers.values())
        now = time.monotonic()
        grows, self._bytes_seen = size > self._bytes_seen, size
        if grows and now - self._rested_at < _PATIENCE_S:
            return False
        self._rested_at = now
        return True

    def advance(self) -> None:
        """Make the pairs of what has come; what cannot be written or read now, `finish` tells."""
        for journal, maker in list(self._makers.items()):
            if journal not in self._retired:
                with contextlib.suppress(OSError, ValueError, LookupError):
                    maker.advance()
                continue
            self._retired.discard(journal)
            if error := self._finish(journal):
                print(f"agentcap: {journal} is kept: {error}", file=sys.stderr)

    def leave(self, owner: int) -> None:
        """Make the pairs of what has come; of an owner that is gone, finish what it has left."""
        if self._makers and not self._dismissed and _is_gone(owner):
            self._retired.update(self._makers)
        self.advance()

    def _finish(self, journal: str) -> str | None:
        """Finish a journal; return why that was not possible."""
        try:
            self._makers.pop(journal).finish()
        except (OSError, ValueError, LookupError) as error:
            return str(error) or type(error).__name__
        return None


def _size(journal: Path) -> int:
    try:
        return journal.stat().st_size
    except FileNotFoundError:
        # Told of before it was made, or taken away since.
        return 0


def _is_gone(owner: int) -> bool:
    """Tell whether our parent is gone: of a process that ends, pipes and locks go first, then its children."""
    for _ in range(_LOOKS):
        if os.getppid() != owner:
            return True
        time.sleep(_LOOK_S)
    return False


def main() -> None:
    os.nice(_NICENESS)
    # Unbuffered, so that what `select` sees is all there is.
    orders = os.fdopen(sys.stdin.fileno(), "rb", buffering=0)
    pairing = Pairing(tuple(json.loads(orders.readline() or b"[]")))
    while True:
        readable, _, _ = select.select([orders], [], [], _EVERY_S)
        if not readable:
            if pairing.is_due():
                pairing.advance()
            continue
        line = orders.readline()
        if not line:
            pairing.leave(int(sys.argv[1]))
            return
        answer = pairing.obey(json.loads(line))
        if answer is not None:
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
