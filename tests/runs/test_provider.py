from __future__ import annotations

import pytest

from pytest_agentcap.runs.provider import provider_of


@pytest.mark.parametrize(
    ("upstream", "provider"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://api.together.xyz", "together"),
        ("https://api.together.ai/v1", "together"),
        ("https://api.anthropic.com", "anthropic"),
        ("https://api.cerebras.ai/v1", "cerebras"),
        ("https://api.fireworks.ai/inference/v1", "fireworks"),
        ("https://api.groq.com/openai/v1", "groq"),
        ("https://API.Groq.com:443", "groq"),
        ("http://localhost:8000/v1", "local"),
        ("http://127.0.0.1:8080", "local"),
        ("http://[::1]:8080/v1", "local"),
        ("http://10.1.2.3:8000", "local"),
        ("http://192.168.0.7", "local"),
        ("http://172.16.0.1", "local"),
        ("http://0.0.0.0:8000", "local"),
        ("http://gpu-box:8000", "local"),
        ("http://gpu-box.local:8000", "local"),
        ("http://vllm.localhost:8000", "local"),
        ("http://8.8.8.8", "unknown"),
        ("https://api.deepseek.com", "deepseek"),
        ("https://deepseek.com", "deepseek"),
        ("https://notopenai.com", "notopenai"),
        ("scripted", "scripted"),
        ("replay", "replay"),
        ("", "unknown"),
    ],
)
def test_a_provider_is_named_after_the_upstreams_host(upstream, provider):
    assert provider_of(upstream, "org/model") == provider


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("org/model", "hf-router"),
        ("org/model:together", "hf-router/together"),
        ("org/model:", "hf-router"),
        ("a:b:c", "hf-router/c"),
    ],
)
def test_the_routers_own_choice_is_part_of_its_name(model, provider):
    assert provider_of("https://router.huggingface.co/v1", model) == provider


def test_a_colon_means_nothing_to_other_providers():
    assert provider_of("http://localhost:11434/v1", "qwen3:8b") == "local"
