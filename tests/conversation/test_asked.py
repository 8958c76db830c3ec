from __future__ import annotations

import pytest

from pytest_agentcap.conversation.asked import asked_model, is_same_model
from pytest_agentcap.runs.captures import Half


@pytest.mark.parametrize(
    ("path", "body", "model"),
    [
        ("/v1/chat/completions", b'{"model": "org/m", "messages": []}', "org/m"),
        ("/v1/chat/completions", b'{"messages": [{"model": "x"}], "model": "org/m"}', "org/m"),
        ("/v1/chat/completions", b'{"messages": [{"content": "\\"model\\""}]}', None),
        ("/v1/chat/completions", b'{"model": 3}', None),
        ("/v1/chat/completions", b"[]", None),
        ("/v1beta/models/gemini-9:streamGenerateContent", b'{"contents": []}', "gemini-9"),
    ],
)
def test_the_model_is_named_by_the_body_or_by_the_path(path, body, model):
    assert asked_model(Half({"path": path}, "body", body)) == model


@pytest.mark.parametrize(
    ("asked", "same"),
    [(None, True), ("", True), ("org/m", True), ("m", True), ("x/org/m", True), ("M", False), ("org/m2", False)],
)
def test_a_models_id_may_lack_its_owner(asked, same):
    assert is_same_model(asked, "org/m") is same
