"""tools/start-model-server with a llama-server that only says what it was asked and answers its health."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "start-model-server"
STUB = """#!{python}
import http.server, json, pathlib, sys
pathlib.Path({seen!r}).write_text(json.dumps(sys.argv))
print("a line of the server's own", flush=True)
if "--fail" in sys.argv:
    sys.exit(3)
class Handler(http.server.BaseHTTPRequestHandler):
    loading = True
    def do_GET(self):
        self.send_response(503 if Handler.loading else 200)
        Handler.loading = False
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""


class Machine:
    """A machine with nothing on PATH but what a test puts there."""

    def __init__(self, folder: Path) -> None:
        self.path, self.seen = folder / "bin", folder / "seen.json"
        self.path.mkdir()

    def install(self, name: str) -> None:
        program = self.path / name
        program.write_text(STUB.format(python=sys.executable, seen=str(self.seen)))
        program.chmod(0o755)

    def asked(self) -> list[str]:
        return list(json.loads(self.seen.read_text()))

    def refused(self, *words: str) -> str:
        done = subprocess.run([sys.executable, TOOL, *words], env=self.environment(), capture_output=True, text=True)
        assert done.returncode == 1
        assert done.stdout == ""
        return done.stderr

    @contextmanager
    def started(self, *words: str) -> Iterator[str]:
        """Start the tool, yield the line that it prints when the server answers, and end it as a shell would."""
        command = [sys.executable, TOOL, *words]
        with subprocess.Popen(command, env=self.environment(), stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                yield process.stdout.readline().strip()
            finally:
                process.send_signal(signal.SIGTERM)
        assert process.returncode == 0

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PATH": str(self.path), "http_proxy": "http://127.0.0.1:9"}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def make_gguf(tmp_path: Path) -> Callable[..., Path]:
    """Write the header of a GGUF file with one architecture's numbers."""

    def make(name: str = "Some-1B-Q8_0.gguf", **numbers: int) -> Path:
        def text(value: str) -> bytes:
            return struct.pack("<Q", len(value)) + value.encode()

        pairs = [text("general.architecture") + struct.pack("<I", 8) + text("stub")]
        pairs.append(text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("b"))
        for key, value in numbers.items():
            pairs.append(text(f"stub.{key.replace('__', '.')}") + struct.pack("<II", 4, value))
        path = tmp_path / name
        path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + b"".join(pairs))
        return path

    return make


SMALL = {"block_count": 2, "embedding_length": 64, "attention__head_count": 4, "attention__head_count_kv": 2}


def test_it_prints_what_pytest_is_given_once_the_server_answers(
    machine: Machine, make_gguf: Callable[..., Path]
) -> None:
    machine.install("llama-server")
    with machine.started(str(make_gguf(**SMALL)), "--port", "0") as line:
        asked = machine.asked()
        port = asked[asked.index("--port") + 1]
        assert line == f"--upstream http://127.0.0.1:{port} --model Some-1B-Q8_0"


def test_the_server_gets_what_agents_need(machine: Machine, make_gguf: Callable[..., Path]) -> None:
    machine.install("llama-server")
    path = make_gguf(**SMALL, context_length=131072)
    with machine.started(str(path), "--port", "0", "--", "--temp", "0.2"):
        asked = machine.asked()
    assert asked[1:3] == ["--model", str(path)]
    assert "--jinja" in asked
    assert asked[asked.index("--ctx-size") :] == [
        *("--ctx-size", "65536", "--parallel", "2", "--kv-unified"),
        *("--temp", "0.2"),
    ]
    assert asked[asked.index("--host") + 1] == "127.0.0.1"


def test_a_repository_of_the_hub_is_left_to_the_server(machine: Machine) -> None:
    machine.install("llama-server")
    with machine.started("Qwen/Qwen3-1.7B-GGUF:Q8_0", "--port", "0", "--context", "40000") as line:
        asked = machine.asked()
    assert asked[1:3] == ["--hf-repo", "Qwen/Qwen3-1.7B-GGUF:Q8_0"]
    assert asked[asked.index("--ctx-size") + 1] == "40000"
    assert line.endswith("--model Qwen3-1.7B-Q8_0")


def test_llama_serves_where_there_is_no_llama_server(machine: Machine, make_gguf: Callable[..., Path]) -> None:
    machine.install("llama")
    with machine.started(str(make_gguf(**SMALL)), "--port", "0"):
        assert machine.asked()[1] == "serve"


def test_a_context_is_no_larger_than_the_model_was_trained_for(
    machine: Machine, make_gguf: Callable[..., Path]
) -> None:
    machine.install("llama-server")
    with machine.started(str(make_gguf(**SMALL, context_length=40960)), "--port", "0"):
        asked = machine.asked()
    assert asked[asked.index("--ctx-size") + 1] == "40960"


def test_a_context_is_no_larger_than_memory_allows(machine: Machine, make_gguf: Callable[..., Path]) -> None:
    machine.install("llama-server")
    # 4 GiB for each token.
    path = make_gguf(block_count=1 << 14, embedding_length=1 << 16, attention__head_count=64)
    with machine.started(str(path), "--port", "0"):
        asked = machine.asked()
    assert asked[asked.index("--ctx-size") + 1] == "4096"


def test_without_a_server_it_says_how_to_install_one(machine: Machine) -> None:
    assert "no llama-server and no llama on PATH: install llama.cpp" in machine.refused()


def test_a_port_that_is_taken_is_named(machine: Machine, make_gguf: Callable[..., Path]) -> None:
    machine.install("llama-server")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = machine.refused(str(make_gguf(**SMALL)), "--port", str(port))
    assert f"port {port} cannot be used" in said
    assert "--port" in said


@pytest.mark.parametrize("name", ["missing.gguf", "folder/missing.gguf", "a/b/c", "nothing"])
def test_a_file_that_is_missing_is_named(machine: Machine, name: str) -> None:
    machine.install("llama-server")
    assert f"{name}: no such file; give a .gguf file, or a repository" in machine.refused(name)


def test_a_file_that_is_no_gguf_is_named(machine: Machine, tmp_path: Path) -> None:
    machine.install("llama-server")
    path = tmp_path / "model.gguf"
    path.write_bytes(b"PK\3\4 something else")
    assert f"{path}: not a GGUF file" in machine.refused(str(path))


def test_a_server_that_ends_at_once_is_told(machine: Machine, make_gguf: Callable[..., Path]) -> None:
    machine.install("llama-server")
    said = machine.refused(str(make_gguf(**SMALL)), "--port", "0", "--", "--fail")
    assert "a line of the server's own" in said
    assert "the server ended with 3; see above" in said
