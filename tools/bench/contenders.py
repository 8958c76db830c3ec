"""Who is measured, and the command that starts each."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
AGENTCAP = (
    *(sys.executable, "-c", "import sys; from pytest_agentcap.cli import main; sys.exit(main())"),
    *("proxy", "--no-lease", "--host", "127.0.0.1"),
    *("--upstream", "{upstream}", "--port", "{port}", "--captures", "{captures}"),
)
MITMPROXY = "mitmproxy==11.0.2"
# One worker, as every other proxy here is one process; nothing is buffered, as a capture proxy may not either.
_NGINX = """
daemon off; worker_processes 1; pid {scratch}/nginx.pid; error_log stderr error; {user}
events {{ worker_connections 2048; }}
http {{
  access_log off; client_max_body_size 0; tcp_nodelay on; keepalive_requests 100000000;
  client_body_temp_path {scratch}/body; proxy_temp_path {scratch}/proxy; fastcgi_temp_path {scratch}/fastcgi;
  uwsgi_temp_path {scratch}/uwsgi; scgi_temp_path {scratch}/scgi;
  upstream model {{ server 127.0.0.1:{upstream_port}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{
      proxy_pass {scheme}://model; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_request_buffering off; {tls}
    }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Tell a contender where to listen, what to forward to, and where it may write."""

    upstream: str
    upstream_port: int
    port: int
    scratch: Path
    certificate: Path | None

    @property
    def captures(self) -> Path:
        return self.scratch / "captures"


@dataclass(frozen=True, slots=True)
class Contender:
    """Name one way from client to upstream.

    `command` is None for the direct way. `pairs` tells whether it leaves two files per call. `absent` says why it
    cannot run here.
    """

    name: str
    command: Callable[[Place], list[str]] | None
    pairs: bool = False
    absent: str | None = None


def default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "agentcap-bench"


def set_up(cache: Path) -> None:
    """Install mitmproxy into an environment of its own: its pins would fight with everybody else's."""
    venv = cache / "mitmproxy"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    subprocess.run([str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", MITMPROXY], check=True)


def find_contenders(cache: Path) -> list[Contender]:
    """List everybody, those who cannot run here included."""
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    mitmdump = cache / "mitmproxy" / "bin" / "mitmdump"
    no_mitmproxy = None if mitmdump.exists() else "not installed: run tools/bench/proxy --setup"
    return [
        Contender("direct", None),
        Contender("nginx", _nginx, absent=None if nginx else "not installed: apt-get install nginx-light"),
        Contender("agentcap", from_template(AGENTCAP), pairs=True),
        Contender("mitmproxy", lambda place: _mitmproxy(mitmdump, place), absent=no_mitmproxy),
        Contender("agentcap-style", _agentcap_style, pairs=True),
    ]


def from_template(words: tuple[str, ...]) -> Callable[[Place], list[str]]:
    """Make a command of words in which {upstream}, {port} and {captures} stand for a contender's place."""

    def command(place: Place) -> list[str]:
        fields = {"upstream": place.upstream, "port": place.port, "captures": place.captures}
        return [word.format(**fields) for word in words]

    return command


def _nginx(place: Place) -> list[str]:
    tls = ""
    if place.certificate:
        tls = f"proxy_ssl_trusted_certificate {place.certificate}; proxy_ssl_verify on; proxy_ssl_name localhost;"
    configuration = place.scratch / "nginx.conf"
    text = _NGINX.format(
        scratch=place.scratch,
        upstream_port=place.upstream_port,
        port=place.port,
        scheme="https" if place.certificate else "http",
        tls=tls,
        # Workers of a root nginx run as somebody who may not enter a temporary folder.
        user="user root;" if os.geteuid() == 0 else "",
    )
    configuration.write_text(text)
    return ["nginx", "-p", str(place.scratch), "-c", str(configuration)]


def _mitmproxy(mitmdump: Path, place: Place) -> list[str]:
    # Streamed, or events would arrive at the end of the answer; and kept all the same, since it is there to capture.
    settings = ["stream_large_bodies=1", "store_streamed_bodies=true", f"confdir={place.scratch / 'mitmproxy'}"]
    if place.certificate:
        settings.append(f"ssl_verify_upstream_trusted_ca={place.certificate}")
    listen = ["--mode", f"reverse:{place.upstream}", "--listen-host", "127.0.0.1", "--listen-port", str(place.port)]
    options = [word for setting in settings for word in ("--set", setting)]
    return [str(mitmdump), "--quiet", *listen, *options, "--save-stream-file", str(place.captures / "flows")]


def _agentcap_style(place: Place) -> list[str]:
    return [sys.executable, str(HERE / "agentcap_style.py"), place.upstream, str(place.port), str(place.captures)]
