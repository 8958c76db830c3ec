"""Pair files made while sessions run, in a process of their own.

Checking a long body holds the interpreter for milliseconds in which no stream of the proxy would move. A thread would
do that to it, another process does not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from pytest_agentcap.runs.layout import remove_torn
from pytest_agentcap.runs.pairs import PairMaker


class PairWriter:
    """Own the pairing process; may be used from several threads.

    Should it die, `finish` does the rest here: pairs are made from the journal, whoever reads it.
    """

    def __init__(self, secrets: tuple[str, ...] = ()) -> None:
        self._secrets = secrets
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pytest_agentcap.runs.pairing", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            # A terminal's Ctrl-C is for the session, which still needs its pairs.
            start_new_session=True,
        )
        self._tell(list(secrets))

    def follow(self, journal: Path, captures: Path) -> None:
        """Have the pairs of a journal made as it grows."""
        with self._lock:
            self._tell({"do": "follow", "journal": str(journal), "captures": str(captures)})

    def finish(self, journal: Path, captures: Path) -> None:
        """Have the rest of a journal's pairs made, and the journal deleted.

        Raises OSError when that is not possible; the journal is then kept.
        """
        with self._lock:
            told = self._tell({"do": "finish", "journal": str(journal), "captures": str(captures)})
            answer = self._process.stdout.readline() if told and self._process.stdout else b""
        if not answer:
            PairMaker(journal, captures, self._secrets).finish()
            remove_torn(captures)
            return
        error = json.loads(answer)["error"]
        if error is not None:
            raise OSError(error)

    def retire(self, journal: Path, captures: Path) -> None:
        """Have a journal finished some time, without waiting; what fails is said on standard error."""
        with self._lock:
            self._tell({"do": "retire", "journal": str(journal), "captures": str(captures)})

    def close(self) -> None:
        """Let the process do what it has been told, and end it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._tell({"do": "dismiss"})
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _tell(self, message: Any) -> bool:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
        except BrokenPipeError:
            return False
        return True
