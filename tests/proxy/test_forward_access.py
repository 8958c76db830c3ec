from __future__ import annotations

import json
import time

import pytest

KEY_HEADERS = ["authorization", "x-api-key", "api-key", "x-goog-api-key"]


@pytest.mark.parametrize("token", ["0" * 32, "v1", "%00", "a" * 5000])
def test_without_a_lease_it_is_403_and_reaches_nobody(station, agent, upstream, token):
    answer = agent.call(token=token)

    assert answer.status == 403
    assert "lease" in json.loads(answer.body)["error"]["message"]
    assert upstream.visits == []
    assert station.proxy.leases.refused == 1


def test_a_lease_that_is_revoked_while_a_body_arrives_is_403(station, agent, upstream):
    connection = agent.open(body=None, headers=[("content-length", "2")])
    connection.send(b"{")
    station.end(agent)
    connection.send(b"}")

    assert connection.getresponse().status == 403
    connection.close()
    assert upstream.visits == []
    assert station.proxy.leases.refused == 1
    assert list(station.captures.iterdir()) == []


def test_an_agent_that_leaves_while_its_body_arrives_makes_no_call(station, agent, upstream):
    connection = agent.open(body=None, headers=[("content-length", "2")])
    connection.send(b"{")
    connection.close()
    agent.call()

    assert len(upstream.visits) == 1
    assert len(station.end(agent)) == 1


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("/v1/chat/completions", "authorization", "Bearer sk-upstream"),
        ("/v1/messages", "x-api-key", "sk-upstream"),
        ("/v1beta/models/g:streamGenerateContent?alt=sse", "x-goog-api-key", "sk-upstream"),
        ("/v1/models", "authorization", "Bearer sk-upstream"),
    ],
)
def test_the_key_is_added_whatever_the_agent_sent_and_never_recorded(
    make_station, upstream, everything_on_disk, path, name, value
):
    station = make_station(upstream.url, "sk-upstream")
    agent = station.agent()
    agent.call(path, headers=[(header, "sk-of-the-agent") for header in KEY_HEADERS])
    before = everything_on_disk(station.captures)
    station.end(agent)

    [visit] = upstream.visits
    assert [(k.lower(), v) for k, v in visit.headers if k.lower() in KEY_HEADERS] == [(name, value)]
    for data in (before, everything_on_disk(station.captures)):
        assert b"sk-upstream" not in data
        assert b"sk-of-the-agent" not in data


@pytest.mark.parametrize(
    ("path", "sent", "added"),
    [
        ("/v1/models", "authorization", ("authorization", "Bearer sk-upstream")),
        ("/v1/models", "x-api-key", ("x-api-key", "sk-upstream")),
        ("/v1/models", "x-goog-api-key", ("x-goog-api-key", "sk-upstream")),
        ("/v1beta/models", "x-mine", ("x-goog-api-key", "sk-upstream")),
    ],
)
def test_on_a_path_of_no_api_the_key_is_where_the_agent_put_its_own(make_station, upstream, path, sent, added):
    agent = make_station(upstream.url, "sk-upstream").agent()
    agent.call(path, None, method="GET", headers=[(sent, "sk-of-the-agent")])
    [visit] = upstream.visits
    assert [(k.lower(), v) for k, v in visit.headers if k.lower() in KEY_HEADERS] == [added]


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ("key=sk-of-the-agent", ""),
        ("key=sk-of-the-agent&alt=sse", "alt=sse"),
        ("alt=sse&key=sk-of-the-agent&&a=%2f", "alt=sse&&a=%2f"),
        ("monkey=1&keys=2", "monkey=1&keys=2"),
    ],
)
def test_a_key_in_a_query_of_google_is_neither_sent_on_nor_recorded(
    station, agent, upstream, everything_on_disk, query, left
):
    path = "/v1beta/models/g:generateContent"
    agent.call(f"{path}?{query}")
    agent.call(f"/v1/chat/completions?{query.replace('sk-of-the-agent', '1')}")
    capture, _ = station.end(agent)

    assert upstream.visits[0].target == (f"{path}?{left}" if left else path)
    assert upstream.visits[1].target.endswith(query.replace("sk-of-the-agent", "1"))
    assert capture.request.head["query"] == left
    assert b"sk-of-the-agent" not in everything_on_disk(station.captures)


def test_without_a_key_the_agents_own_is_not_passed_on(agent, upstream):
    agent.call(headers=[(header, "sk-of-the-agent") for header in KEY_HEADERS])
    assert b"sk-of-the-agent" not in repr(upstream.visits[0].headers).encode()


def test_cookies_are_not_recorded(station, agent, upstream, everything_on_disk):
    upstream.answer = lambda visit: visit.respond(200, [("set-cookie", "theirs=secret")])
    agent.call(headers=[("cookie", "mine=secret")])
    station.end(agent)
    assert b"secret" not in everything_on_disk(station.captures)


def test_the_lease_is_not_recorded(station, agent, upstream, everything_on_disk):
    token = agent.lease.token
    upstream.answer = lambda visit: visit.respond(200, [("x-echo", token)], json.dumps([token]).encode())
    agent.call(
        f"/v1/chat/completions?q={token}", json.dumps([token]).encode(), headers=[("referer", f"http://h/{token}")]
    )
    [capture] = station.end(agent)

    assert token.encode() not in everything_on_disk(station.captures)
    assert capture.request.text == capture.response.text == b'["<lease>"]'
    assert capture.request.head["query"] == "q=<lease>"
    assert (capture.request.head["redacted"], capture.response.head["redacted"]) == (3, 2)


def test_a_secret_is_masked_in_what_is_stored_and_travels_untouched(station, upstream):
    agent = station.agent(secrets=("hf_secret_token",))

    def answer(visit):
        visit.start_stream()
        for piece in (b"data: hf_sec", b"ret_token\n\n"):
            visit.chunk(piece)
            time.sleep(0.02)
        visit.end()

    upstream.answer = answer
    assert agent.call(body=b'["hf_secret_token"]').body == b"data: hf_secret_token\n\n"
    [capture] = station.end(agent)

    assert upstream.visits[0].body == b'["hf_secret_token"]'
    assert capture.request.text.startswith(b'["agentcap-redacted-')
    assert json.loads(capture.response.text).startswith("data: agentcap-redacted-")
