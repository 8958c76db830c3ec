from __future__ import annotations

import pytest

from pytest_agentcap.credentials import Key
from pytest_agentcap.preflight import PreflightError, check_upstream


@pytest.mark.parametrize("status", [200, 404, 405, 429, 500, 302])
def test_any_answer_but_a_refused_key_is_good_enough(http_upstream, status):
    with http_upstream(lambda path: (status, b"{}")) as upstream:
        check_upstream(upstream.url, Key("sk-12345678", "AGENTCAP_API_KEY"))
    [(path, headers)] = upstream.seen
    assert path == "/v1/models"
    assert headers["authorization"] == "Bearer sk-12345678"


@pytest.mark.parametrize(
    ("key", "told"),
    [
        (Key("sk-12345678", "AGENTCAP_API_KEY"), "the key from AGENTCAP_API_KEY"),
        (None, "no key: pass --api-key or set AGENTCAP_API_KEY"),
    ],
)
@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_named_by_its_source(http_upstream, status, key, told):
    with (
        http_upstream(lambda path: (status, b"{}")) as upstream,
        pytest.raises(PreflightError, match=f"^--upstream {upstream.url}/v1: answered {status} to {told}$"),
    ):
        check_upstream(f"{upstream.url}/v1", key)
    assert [path for path, _ in upstream.seen] == ["/v1/models"]


def test_an_upstream_that_is_not_there_or_speaks_no_http_is_one_line():
    import socket
    import threading

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"SSH-2.0-x\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(PreflightError, match=r"no answer \(.+\): is the model server up\?$"):
            check_upstream(f"http://127.0.0.1:{port}", None)
        thread.join()
    with pytest.raises(PreflightError, match=r"no answer \(.*refused\): is the model server up\?$"):
        check_upstream(f"http://127.0.0.1:{port}", None)


def test_the_scripted_model_needs_no_check():
    check_upstream("scripted", None)
