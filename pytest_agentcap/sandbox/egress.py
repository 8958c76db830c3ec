"""The one way out of a container: a unix socket on the host, and in the container a relay that makes it 127.0.0.1."""

from __future__ import annotations

import socket
from pathlib import Path

RELAY_PORT = 8400
SOCKET_FOLDER = "/run/agentcap"
# Not the agent's user: an agent that ends all of its own processes, or whose processes are ended, keeps its relay.
RELAY_USER = "65534:65534"

_BACKLOG = 512
_SOCKET_NAME = "model.sock"


class ClosedDoor:
    """Be the proxy of a sandbox that is to reach none; once it is closed, who tries is refused."""

    def listen(self, sock: socket.socket) -> ClosedDoor:
        self._sock = sock
        return self

    def close(self) -> None:
        self._sock.close()


def bind_socket(folder: Path) -> socket.socket:
    """Bind the unix socket that a container reaches when `folder` is mounted at SOCKET_FOLDER; it listens already.

    Every user may connect: the container's user is another one, and `folder` is in a private one on the host.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path = folder / _SOCKET_NAME
        listener.bind(str(path))
        path.chmod(0o666)
        # From here on a connection waits for whoever serves the socket, instead of being refused.
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def relay_command() -> list[str]:
    """Return a container's main command: the relay, below a shell that also takes in orphaned processes."""
    return [
        "sh",
        "-c",
        'socat "$@" & wait',
        "relay",
        # A client may close its sending half long before the answer ends.
        "-t",
        "3600",
        f"TCP-LISTEN:{RELAY_PORT},bind=127.0.0.1,fork,reuseaddr,nodelay,backlog={_BACKLOG}",
        f"UNIX-CONNECT:{SOCKET_FOLDER}/{_SOCKET_NAME}",
    ]


def ready_command() -> list[str]:
    """Return a command that waits up to 10 s until the relay listens, and fails when the socket cannot be reached."""
    listening = f":{RELAY_PORT:04X} 00000000:0000 0A"
    return [
        "sh",
        "-c",
        f"""i=0
until grep -q '{listening}' /proc/net/tcp; do
    i=$((i + 1))
    if [ "$i" -gt 200 ]; then echo 'socat does not listen; is it in the image?' >&2; exit 1; fi
    sleep 0.05
done
exec socat -u OPEN:/dev/null UNIX-CONNECT:{SOCKET_FOLDER}/{_SOCKET_NAME}""",
    ]
