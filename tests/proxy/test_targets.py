"""Where a request may go: which targets are joined to the upstream, how, and which are refused."""

from __future__ import annotations

import json

import pytest

PREFIXES = [
    ("", "/v1/chat/completions", "/v1/chat/completions"),
    ("/", "/v1/chat/completions", "/v1/chat/completions"),
    ("", "/chat/completions", "/chat/completions"),
    ("/v1", "/v1/chat/completions", "/v1/chat/completions"),
    ("/v1/", "/v1/chat/completions/", "/v1/chat/completions/"),
    ("/v1", "/chat/completions", "/v1/chat/completions"),
    ("/api/paas/v4", "/v1/chat/completions", "/api/paas/v4/chat/completions"),
    ("/api/paas/v4", "/embeddings", "/api/paas/v4/embeddings"),
    ("/v1beta", "/v1beta/models/g:generateContent", "/v1beta/v1beta/models/g:generateContent"),
    ("/v1beta/openai", "/v1/chat/completions", "/v1beta/openai/v1/chat/completions"),
    ("/team/a", "/v1/messages/count_tokens", "/team/a/v1/messages/count_tokens"),
    ("/team%20a", "/v1/responses", "/team%20a/v1/responses"),
]
RECORDED = {
    "/chat/completions": "chat",
    "/completions": "completions",
    "/responses": "responses",
    "/messages": "messages",
    "/messages/count_tokens": "messages",
    "/embeddings": "embeddings",
    "/models/g:generateContent": "gemini",
    "/models/g:streamGenerateContent": "gemini",
}
# What an agent might send in place of `/<lease>/v1/models`; {lease} is its own, valid lease.
HOSTILE = [
    "http://evil.example/{lease}/v1/models",
    "HTTP://user:password@evil.example:80/{lease}/v1/models",
    "https://evil.example/{lease}/v1/chat/completions?a=1",
    "http://evil.example/",
    "http://evil.example",
    "ws://evil.example/{lease}/v1/models",
    "//evil.example/{lease}/v1/models",
    "//{lease}/v1/models",
    "*",
    "evil.example:443",
    "/{lease}",
    "/{lease}//v1/models",
    "/{lease}/v1//models",
    "/{lease}/v1/models//",
    "/{lease}/..",
    "/{lease}/../{lease}/v1/models",
    "/{lease}/v1/../../admin",
    "/{lease}/v1/./models",
    "/{lease}/v1/.",
    "/{lease}/v1/%2e%2e/admin",
    "/{lease}/v1/%2E%2e/admin",
    "/{lease}/v1/.%2E/admin",
    "/{lease}/v1/%2e./admin",
    "/{lease}/v1/%2e",
    "/{lease}/v1/..%2fadmin",
    "/{lease}/v1/..%2Fadmin",
    "/{lease}/v1%2fmodels",
    "/{lease}/v1\\models",
    "/{lease}\\..\\admin",
    "/{lease}/v1/..%5cadmin",
    "/{lease}/v1/%5C..%5Cadmin",
    "/{lease}/v1/..\\%2e%2E%2Fadmin",
    "/{lease}/v1/..;/admin",
    "/{lease}/v1/models#/../admin",
    "/{lease}/v1/models?a=1#b",
    "/../{lease}/v1/models",
    "/%2e%2e/{lease}/v1/models",
    "/{lease}%2fv1/models",
]


@pytest.fixture
def station(lasting):
    return lasting[0]


@pytest.fixture
def upstream(lasting):
    lasting[1].visits.clear()
    return lasting[1]


@pytest.fixture
def agent(station):
    agent = station.agent()
    yield agent
    if agent in station.agents:
        station.end(agent)


@pytest.mark.parametrize("target", HOSTILE)
def test_a_target_that_could_lead_elsewhere_is_400_and_reaches_nobody(station, agent, upstream, hear, target):
    line = f"POST {target.format(lease=agent.lease.token)} HTTP/1.1\r\n"
    with agent.dial(line.encode("latin-1") + b"host: h\r\ncontent-length: 2\r\n\r\n{}") as sock:
        assert hear(sock).status == 400
    assert upstream.visits == []
    assert station.end(agent) == []


@pytest.mark.parametrize("target", ["evil.example:443", "/{lease}/v1/chat/completions", "http://evil.example/"])
def test_a_tunnel_is_refused(agent, upstream, hear, target):
    line = f"CONNECT {target.format(lease=agent.lease.token)} HTTP/1.1\r\n"
    with agent.dial(line.encode() + b"host: evil.example\r\n\r\n") as sock:
        assert hear(sock).status == 400
    assert upstream.visits == []


@pytest.mark.parametrize("path", ["", "//v1/chat/completions", "/v1/../x"])
def test_a_refused_path_says_so_in_the_apis_own_shape(agent, path):
    assert "refused path" in json.loads(agent.call(path).body)["error"]["message"]


def test_a_target_without_a_lease_that_could_lead_elsewhere_is_400_too(agent, upstream, hear):
    with agent.dial(b"GET http://evil.example/v1/models HTTP/1.1\r\nhost: h\r\n\r\n") as sock:
        assert hear(sock).status == 400
    with agent.dial(b"GET /v1/models HTTP/1.1\r\nhost: h\r\n\r\n") as sock:
        assert hear(sock).status == 403
    assert upstream.visits == []


@pytest.mark.parametrize("query", ["", "?beta=true&a=%2F%2e//..&a="])
@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("version", ["", "/v1"])
@pytest.mark.parametrize(("path", "api"), RECORDED.items())
def test_every_api_is_recorded_however_its_path_is_written(station, agent, upstream, path, api, version, slash, query):
    sent = version + path + slash
    agent.call(sent + query, b'{"a":1}')
    [capture] = station.end(agent)

    assert upstream.visits[0].target == sent + query
    assert [capture.request.head[key] for key in ("api", "path", "query")] == [api, sent, query.removeprefix("?")]
    assert capture.response.text == b'{"a":1}'


@pytest.mark.parametrize(("prefix", "sent", "target"), PREFIXES)
def test_an_upstream_with_a_path_prefix_gets_paths_under_it(make_station, upstream, prefix, sent, target):
    station = make_station(upstream.url + prefix)
    agent = station.agent()
    agent.call(f"{sent}?a=1")
    station.end(agent)
    assert [visit.target for visit in upstream.visits] == [f"{target}?a=1"]
