from __future__ import annotations

import json

import pytest

from pytest_agentcap.proxy.apis import UnsafePath, Upstream, api_of, error_body

RECORDED = {
    "/chat/completions": "chat",
    "/completions": "completions",
    "/responses": "responses",
    "/messages": "messages",
    "/messages/count_tokens": "messages",
    "/embeddings": "embeddings",
    "/models/gemini-3-pro:generateContent": "gemini",
    "/models/gemini-3-pro:streamGenerateContent": "gemini",
}


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("version", ["", "/v1"])
@pytest.mark.parametrize(("path", "api"), RECORDED.items())
def test_an_api_is_known_with_and_without_version_and_trailing_slash(path, api, version, slash):
    assert api_of("POST", version + path + slash) == api


@pytest.mark.parametrize("version", ["/v1beta", "/v1alpha", "/v1beta2"])
@pytest.mark.parametrize("method", ["generateContent", "streamGenerateContent"])
def test_the_preview_versions_of_gemini_are_known(version, method):
    assert api_of("POST", f"{version}/models/gemini-3-pro:{method}") == "gemini"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/chat/completions"),
        ("GET", "/v1/models"),
        ("POST", "/v1/files"),
        ("POST", "/v2/chat/completions"),
        ("POST", "/v1/v1/chat/completions"),
        ("POST", "/x/v1/chat/completions"),
        ("POST", "/v1/responses/resp_1/cancel"),
        ("POST", "/v1/chat/completionsx"),
        ("POST", "/v1beta/models/gemini-3-pro:countTokens"),
        ("POST", "/v1beta/models/a/b:generateContent"),
        ("POST", ""),
        ("POST", "/"),
    ],
)
def test_any_other_request_is_not_recorded(method, path):
    assert api_of(method, path) is None


@pytest.mark.parametrize(
    ("url", "path", "target"),
    [
        ("http://h", "/v1/chat/completions", "/v1/chat/completions"),
        ("http://h/", "/v1/chat/completions", "/v1/chat/completions"),
        ("http://h", "/chat/completions", "/chat/completions"),
        ("http://h/v1", "/v1/chat/completions", "/v1/chat/completions"),
        ("http://h/v1/", "/v1/chat/completions/", "/v1/chat/completions/"),
        ("http://h/v1", "/chat/completions", "/v1/chat/completions"),
        ("http://h/api/paas/v4", "/v1/chat/completions", "/api/paas/v4/chat/completions"),
        ("http://h/v1beta", "/v1/models", "/v1beta/models"),
        ("http://h/v1beta/openai", "/v1/chat/completions", "/v1beta/openai/v1/chat/completions"),
        ("http://h/team", "/v1/chat/completions", "/team/v1/chat/completions"),
        ("http://h/v1", "/v1", "/v1"),
        ("http://h/v1", "/v1x/models", "/v1/v1x/models"),
        ("http://h/vendor", "/v1/models", "/vendor/v1/models"),
        ("http://h/a%20b", "/v1/models/a%3Ab%C3%A9", "/a%20b/v1/models/a%3Ab%C3%A9"),
        ("http://h/ü b", "/models", "/%C3%BC%20b/models"),
    ],
)
def test_paths_join_to_the_upstream(url, path, target):
    assert Upstream(url).target(path, "") == target
    assert Upstream(url).target(path, "a=1&a=%2e%2e//") == f"{target}?a=1&a=%2e%2e//"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "v1/models",
        "//evil/v1/models",
        "/v1//models",
        "/..",
        "/v1/../admin",
        "/v1/./models",
        "/v1/%2e%2e/admin",
        "/v1/%2E./admin",
        "/v1/.%2e/admin",
        "/v1/..%2fadmin",
        "/v1/..%2Fadmin",
        "/v1\\..\\admin",
        "/v1/%5c..%5Cadmin",
        "/v1/..;/admin",
        "/v1/..;x=1/admin",
        "/v1/models#admin",
        "http://evil/v1/models",
        "*",
        "/v1/models/.",
    ],
)
def test_a_path_that_could_leave_the_upstreams_prefix_is_refused(path):
    with pytest.raises(UnsafePath):
        Upstream("http://h/v1").target(path, "")


@pytest.mark.parametrize("path", ["/v1/...", "/v1/.well-known", "/v1/a..b", "/v1/models/org%20name"])
def test_dots_inside_a_name_are_only_dots(path):
    assert Upstream("http://h").target(path, "") == path


@pytest.mark.parametrize(
    ("api", "header"),
    [
        ("chat", (b"authorization", b"Bearer sk-1")),
        (None, (b"authorization", b"Bearer sk-1")),
        ("messages", (b"x-api-key", b"sk-1")),
        ("gemini", (b"x-goog-api-key", b"sk-1")),
    ],
)
def test_the_key_goes_where_the_api_expects_it(api, header):
    assert Upstream("http://h", "sk-1").key_header(api) == header
    assert Upstream("http://h").key_header(api) is None


def test_the_key_is_not_in_the_upstreams_repr():
    assert "sk-1" not in repr(Upstream("http://h", "sk-1"))


def test_an_error_has_the_shape_that_the_apis_clients_parse():
    openai = json.loads(error_body("chat", 502, 'no "upstream"'))
    anthropic = json.loads(error_body("messages", 502, 'no "upstream"'))
    gemini = json.loads(error_body("gemini", 502, 'no "upstream"'))

    assert openai["error"]["message"] == 'no "upstream"'
    assert anthropic["type"] == "error"
    assert anthropic["error"]["message"] == 'no "upstream"'
    assert gemini["error"] == {"code": 502, "message": 'no "upstream"', "status": "UNAVAILABLE"}


@pytest.mark.parametrize(
    ("api", "error"),
    [
        ("chat", {"type": "insufficient_quota", "param": None, "code": "insufficient_quota"}),
        ("responses", {"type": "insufficient_quota", "param": None, "code": "insufficient_quota"}),
        ("messages", {"type": "rate_limit_error"}),
        ("gemini", {"code": 429, "status": "RESOURCE_EXHAUSTED"}),
    ],
)
def test_what_is_used_up_is_told_as_the_apis_tell_it(api, error):
    assert json.loads(error_body(api, 429, "used up"))["error"] == {"message": "used up", **error}
