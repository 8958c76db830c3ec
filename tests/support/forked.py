"""Processes that begin with everything imported: to start Python and import pytest and pyarrow takes longer than most
tests do. The standard library's fork server imports once for each worker; what it forks is a process like any other.
"""

from __future__ import annotations

import gc
import multiprocessing

# Here and not at the first use: pytester forgets what a test imported, and with it the server that runs.
import multiprocessing.forkserver
import multiprocessing.popen_forkserver
import multiprocessing.resource_tracker
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.context import ForkServerContext
from pathlib import Path

# Neither the plugin's testcase nor xdist itself: pytest rewrites their assertions when it imports them.
_IMPORTED = (
    *("_pytest.junitxml", "_pytest.skipping", "_pytest.unittest", "_pytest.warnings", "_pytest.threadexception"),
    *("_pytest.unraisableexception", "_pytest.faulthandler", "_pytest.stepwise", "_pytest.helpconfig"),
    *("anyio._backends._asyncio", "execnet", "httpx", "pandas", "pyarrow.parquet", "pyarrow.pandas_compat"),
    *("starlette.applications", "uvicorn.lifespan.off", "uvicorn.loops.uvloop", "xml.etree.ElementTree", "yaml"),
    *("uvicorn.protocols.http.httptools_impl", "pytest_agentcap.plugin", "pytest_agentcap.cli"),
    *("pytest_agentcap.controller", "pytest_agentcap.capturing", "pytest_agentcap.preparing"),
    *("pytest_agentcap.session", "pytest_agentcap.finishing", "pytest_agentcap.hooks", "pytest_agentcap.ordering"),
    *("pytest_agentcap.proxy.server", "pytest_agentcap.proxy.transport_plain", "pytest_agentcap.publish.parquet"),
    *("pytest_agentcap.sandbox.host", "pytest_agentcap.upstream.serving", "pytest_agentcap.grading.program"),
)
_TESTS = str(Path(__file__).parents[1])


def run_forked(
    main: Callable[[list[str]], int],
    words: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    patience: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Run `main(words)` in a process of its own and return its exit status and what it wrote.

    Raises subprocess.TimeoutExpired when it has not ended after `patience` seconds.
    """
    with tempfile.TemporaryDirectory() as told:
        output, errors = Path(told, "stdout"), Path(told, "stderr")
        process = _context().Process(target=_run, args=(main, list(words), folder, dict(environment), output, errors))
        process.start()
        process.join(patience)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(list(words), patience)
        texts = [path.read_text("utf-8") if path.exists() else "" for path in (output, errors)]
        return subprocess.CompletedProcess(list(words), process.exitcode, *texts)


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_IMPORTED))
    return context


def _run(
    main: Callable[[list[str]], int],
    words: list[str],
    folder: Path,
    environment: dict[str, str],
    output: Path,
    errors: Path,
) -> None:
    # pytest collects garbage several times at its end: not what was there before it began.
    gc.freeze()
    for number, path in ((1, output), (2, errors)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None
    # As after `python -m`; what only the tests import must not be found.
    own = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = [str(folder), *own, *(path for path in sys.path if not path.startswith(_TESTS))]
    for custom in (Path(path, "sitecustomize.py") for path in own):
        if custom.exists():
            runpy.run_path(str(custom))
    sys.argv = [main.__module__, *words]
    sys.exit(main(words))
