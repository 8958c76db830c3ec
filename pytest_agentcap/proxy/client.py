"""The HTTP client of the hot path: which transport speaks to an upstream, and how long it waits.

A transport and no client in the usual sense, because those keep cookies and would carry one agent's into another's
calls, follow redirects, and obey the environment's proxy variables.
"""

from __future__ import annotations

import platform

from pytest_agentcap.proxy.wire import Limits, Transport

CONNECT_TIMEOUT_S = 30.0
READ_TIMEOUT_S = 1800.0
KEEP_ALIVE_S = 60.0


def open_transport(origin: str) -> Transport:
    """Return the transport to an upstream's origin; make it and use it in one event loop.

    Raises OSError when the certificates that an https upstream is checked against cannot be read.
    """
    limits = Limits(CONNECT_TIMEOUT_S, READ_TIMEOUT_S, KEEP_ALIVE_S)
    # Our own has no TLS, and its parser is there for CPython only.
    if origin.startswith("https:") or platform.python_implementation() != "CPython":
        from pytest_agentcap.proxy.transport_aiohttp import AiohttpTransport

        return AiohttpTransport(origin, limits)
    from pytest_agentcap.proxy.transport_plain import PlainTransport

    return PlainTransport(origin, limits)
