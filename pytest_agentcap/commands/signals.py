"""Signals that end a command as an exception would: what it started is ended, and what it made is removed."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def exit_on(*numbers: signal.Signals) -> Iterator[None]:
    """Leave by SystemExit, with the status that shells give for the signal, when one of these signals comes."""
    before = {number: signal.signal(number, lambda received, _: sys.exit(128 + received)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
