"""The process that turns journals into pair files while sessions run; `PairWriter` starts it and talks to it.

It reads JSON lines: first the secrets to mask, then orders. Journals are looked at several times a second. When its
standard input ends, it does what can be done and leaves.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
from pathlib import Path
from typing import Any

from pytest_agentcap.runs.pairs import PairMaker

_EVERY_S = 0.1
_NICENESS = 10


class Pairing:
    """Keep the pair makers of the journals that are being written; `answer` is what the owner hears."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self._secrets = secrets
        self._makers: dict[str, PairMaker] = {}

    def obey(self, order: dict[str, Any]) -> dict[str, Any] | None:
        """Begin to follow a journal, or finish one and, unless it is only retired, answer for it."""
        journal = order["journal"]
        maker = self._makers.get(journal) or PairMaker(Path(journal), Path(order["captures"]), self._secrets)
        self._makers[journal] = maker
        if order["do"] == "follow":
            return None
        answer: dict[str, Any] = {"journal": journal, "error": None}
        try:
            maker.finish()
        except (OSError, ValueError, LookupError) as error:
            answer["error"] = str(error) or type(error).__name__
        del self._makers[journal]
        if order["do"] == "finish":
            return answer
        if answer["error"]:
            print(f"agentcap: {journal} is kept: {answer['error']}", file=sys.stderr)
        return None

    def advance(self) -> None:
        """Make the pairs of what has come; what cannot be written or read now, `finish` tells."""
        for maker in self._makers.values():
            with contextlib.suppress(OSError, ValueError, LookupError):
                maker.advance()


def main() -> None:
    os.nice(_NICENESS)
    # Unbuffered, so that what `select` sees is all there is.
    orders = os.fdopen(sys.stdin.fileno(), "rb", buffering=0)
    pairing = Pairing(tuple(json.loads(orders.readline() or b"[]")))
    while True:
        readable, _, _ = select.select([orders], [], [], _EVERY_S)
        if not readable:
            pairing.advance()
            continue
        line = orders.readline()
        if not line:
            pairing.advance()
            return
        answer = pairing.obey(json.loads(line))
        if answer is not None:
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
