from __future__ import annotations

import argparse

import pytest

from pytest_agentcap.option_values import judge_url, server_url, shown_url, upstream_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://h:1/v1", "http://h:1/v1"),
        ("https://user:hunter2@h/v1", "https://…@h/v1"),
        ("https://user:hunt/er?2@h/v1", "https://…@h/v1"),
        ("https://hunter2@h?key=hunter2", "https://…@h?…"),
        ("user:hunter2@h:80", "…@h:80"),
        ("https://h/v1?key=hunter2", "https://h/v1?…"),
    ],
)
@pytest.mark.parametrize("read", [upstream_url, server_url, judge_url])
def test_a_url_with_a_password_or_a_query_is_refused_and_not_shown(read, url, shown):
    assert shown_url(url) == shown
    if url == shown:
        assert read(url) == url
        return
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        read(url)
    assert "without user, password and query" in str(refused.value)
    assert shown in str(refused.value)
    assert "hunter2" not in str(refused.value)
