"""The thread that turns journals into pair files while sessions run."""

from __future__ import annotations

import queue
import threading

from pytest_agentcap.runs.pairs import PairMaker


class PairWriter:
    """Advance pair makers off the proxy's event loop.

    A file that cannot be written stays in its journal; `PairMaker.finish` tries again and raises.
    """

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[PairMaker | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="agentcap-pairs", daemon=True)
        self._thread.start()

    def notify(self, maker: PairMaker) -> None:
        """Say that a journal has grown; returns at once."""
        self._waiting.put(maker)

    def close(self) -> None:
        """Handle what was notified, then stop."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (maker := self._waiting.get()) is not None:
            maker.advance_if_possible()
