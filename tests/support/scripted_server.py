"""The scripted model as a server of its own: `python tests/support/scripted_server.py CORPUS` prints its URL."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pytest_agentcap.corpus.reader import read_corpus
from pytest_agentcap.upstream.scripted import ScriptedModel


@contextmanager
def scripted_server(corpus: Path) -> Iterator[str]:
    """Serve the references of one corpus file and yield the server's URL."""
    with ScriptedModel.start() as model:
        for task in read_corpus(corpus, root=Path.cwd()):
            model.learn(task)
        yield model.url


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with scripted_server(Path(sys.argv[1])) as url:
        print(url, flush=True)
        signal.pause()
