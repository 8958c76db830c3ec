"""Start what is measured, read from outside what it costs, and end it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

START_S = 60.0
STOP_S = 60.0


class StartError(Exception):
    """Say which program did not come up, with the end of what it printed."""


class Server:
    """One started program and its children, by process id."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.port = port
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def cpu_s(self) -> float:
        """Return the processor time that all threads have used, ended ones included."""
        # Linux gives every process a clock of its own, in nanoseconds; /proc/<pid>/stat counts in steps of 10 ms.
        return sum(time.clock_gettime((~process.pid << 3) | 2) for process in self._tree())

    def resident_bytes(self) -> int:
        return sum(int(process.memory_info().rss) for process in self._tree())

    def descriptors(self) -> int:
        return sum(int(process.num_fds()) for process in self._tree())

    def stop(self, by: signal.Signals = signal.SIGTERM) -> int:
        """Ask the program to end, wait, and return its exit status; one that does not end is killed.

        Raises TimeoutError for one that had to be killed.
        """
        if self._process.poll() is None:
            self._process.send_signal(by)
        try:
            return self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"process {self.pid} did not end within {STOP_S:.0f} s of {by.name}") from None
        finally:
            self.kill()

    def kill(self) -> None:
        """Kill the program, and before it its children: a child with a session of its own would outlive it."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in reversed(self._tree()):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        self._process.wait()

    def _tree(self) -> list[psutil.Process]:
        root = psutil.Process(self.pid)
        return [root, *root.children(recursive=True)]


@contextlib.contextmanager
def serving(
    argv: Sequence[str], port: int, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Run a server while the context lasts; it is entered when the port accepts connections.

    Raises StartError when the program ends or stays silent instead.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    server = Server(process, port)
    try:
        _wait_until_open(process, port, argv[0], log)
        yield server
        server.stop()
    finally:
        server.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_certificate(folder: Path) -> Path:
    """Make a certificate for localhost that signs itself, in one file with its key."""
    pem, key, certificate = folder / "localhost.pem", folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    made = subprocess.run(
        [*command, *names, "-keyout", str(key), "-out", str(certificate)], capture_output=True, text=True
    )
    if made.returncode:
        raise StartError(f"openssl made no certificate: {made.stderr.strip()}")
    pem.write_bytes(certificate.read_bytes() + key.read_bytes())
    return pem


def _wait_until_open(process: subprocess.Popen[bytes], port: int, name: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise StartError(f"{name} ended at once: {_last_lines(log)}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise StartError(f"{name} did not listen on port {port} within {START_S:.0f} s: {_last_lines(log)}")


def _last_lines(log: Path) -> str:
    return " | ".join(log.read_text(errors="replace").strip().splitlines()[-3:]) or "it printed nothing"
