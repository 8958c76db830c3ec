from __future__ import annotations

import json

import pytest

from pytest_agentcap.proxy.apis import Upstream
from pytest_agentcap.telemetry.serving import ask_upstream, read_answers

LLAMA = {
    "/props": {
        "default_generation_settings": {"n_ctx": 8192},
        "model_path": "/models/qwen3-0.6b-q8.gguf",
        "build_info": "b6000-abc",
    },
    "/v1/models": {"data": [{"id": "qwen", "owned_by": "llamacpp", "meta": {"n_ctx_train": 40960}}]},
}
VLLM = {
    "/version": {"version": "0.11.0"},
    "/v1/models": {"data": [{"id": "other"}, {"id": "m", "owned_by": "vllm", "max_model_len": 32768}]},
}
TGI = {"/info": {"model_id": "m", "model_sha": "c0ffee", "version": "3.0", "max_total_tokens": 4096}}


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (LLAMA, ("llama.cpp", "b6000-abc", 8192, "qwen3-0.6b-q8.gguf", None)),
        (VLLM, ("vllm", "0.11.0", 32768, None, None)),
        (TGI, ("text-generation-inference", "3.0", 4096, None, "c0ffee")),
        ({}, (None,) * 5),
        ({"/props": [], "/v1/models": {"data": "x"}, "/version": 3, "/info": None}, (None,) * 5),
    ],
)
def test_each_server_is_known_by_what_it_says(answers, told):
    found = read_answers(answers, "m")
    assert tuple(found[name] for name in ("software", "version", "context_size", "model_file", "model_hash")) == told
    assert (found["fingerprint"] is None) == (not any(told))


def test_the_server_is_asked_with_its_key_and_need_not_know_the_answers(http_upstream):
    def answer(path: str) -> tuple[int, bytes]:
        if path == "/v1/models":
            return 200, json.dumps(VLLM["/v1/models"]).encode()
        return (200, b"<html>") if path == "/info" else (404, b"{}")

    with http_upstream(answer) as upstream:
        found = ask_upstream(Upstream(f"{upstream.url}/v1", "key"), "m")
    assert (found["software"], found["context_size"], found["version"]) == ("vllm", 32768, None)
    assert [path for path, _ in upstream.seen] == ["/props", "/v1/models", "/version", "/info"]
    assert {headers["authorization"] for _, headers in upstream.seen} == {"Bearer key"}


def test_a_server_that_is_not_there_tells_nothing():
    assert ask_upstream(Upstream("http://127.0.0.1:9/v1", None), "m")["fingerprint"] is None
