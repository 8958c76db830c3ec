"""The model server that the live tests use: one that the environment names, or a llama.cpp server started here."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from live_server import URL, ModelServer, server_at

REPOSITORY = Path(__file__).parents[2]
GGUF, DEFAULT_GGUF = "AGENTCAP_TEST_GGUF", "Qwen/Qwen3-1.7B-GGUF:Q8_0"
HUB = "https://huggingface.co"


def _gguf() -> str:
    if named := os.environ.get(GGUF):
        return named
    try:
        httpx.head(HUB, timeout=5)
    except httpx.HTTPError as error:
        pytest.skip(f"{GGUF} is not set, and {HUB} is not reachable ({error})")
    return DEFAULT_GGUF


@pytest.fixture(scope="session")
def model_server() -> Iterator[ModelServer]:
    """Give a server that answers; without one, every test that asks for it is skipped with the reason."""
    if url := os.environ.get(URL):
        yield server_at(url)
        return
    if not (shutil.which("llama-server") or shutil.which("llama")):
        pytest.skip(f"no model server: set {URL}, or put llama-server on PATH")
    tool = REPOSITORY / "tools" / "start-model-server"
    with subprocess.Popen([sys.executable, tool, _gguf(), "--port", "0"], stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        words = started.stdout.readline().split()
        try:
            assert words[:1] == ["--upstream"], "tools/start-model-server ended; its last lines say why"
            yield server_at(words[1])
        finally:
            started.send_signal(signal.SIGTERM)
