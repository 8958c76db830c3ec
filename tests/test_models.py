from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from pytest_agentcap.credentials import KeyMissing, key_of
from pytest_agentcap.fixtures import SETTINGS
from pytest_agentcap.models import ModelsError, read_models
from pytest_agentcap.targets import ModelTarget

FIRST, SECOND = "sk-first-0123456789", "sk-second-0123456789"


def answer(text: str) -> tuple[int, bytes]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return 200, json.dumps({"id": "x", "choices": [choice]}).encode()


def test_models_of_different_servers_are_one_matrix_and_each_has_its_own_key(project, monkeypatch, http_upstream):
    monkeypatch.setenv("FIRST_KEY", FIRST)
    monkeypatch.setenv("SECOND_KEY", SECOND)
    monkeypatch.setenv("AGENTCAP_API_KEY", "sk-for-nobody-here")
    project.write_shell_agent()
    project.write_jsonl({"id": "a", "input": "python3 call hi"}, {"id": "b", "input": "python3 call ho"})
    told = answer(f"keys: {FIRST} {SECOND}")
    with http_upstream(lambda path: told) as one, http_upstream(lambda path: told) as two:
        project.write(
            "models.toml",
            f"""
            [[models]]
            id = "org/m"
            upstream = "{one.url}"
            api_key_env = "FIRST_KEY"
            label = "local"

            [[models]]
            id = "org/m"
            upstream = "{two.url}/v1"
            api_key_env = "SECOND_KEY"
            label = "hosted"

            [[models]]
            id = "s"
            upstream = "scripted"
            """,
        )
        options = ("--agent", "shell", "--sandbox", "host", "--models", "models.toml", "--label", "given", "-n2")
        done = project.pytest(*options)
    done.assert_outcomes(passed=6)
    done.stdout.fnmatch_lines(
        [
            f"agentcap: shell 1 -> org/m at {one.url}; org/m at {two.url}/v1; the scripted model",
            f"agentcap: the key of {one.url} comes from FIRST_KEY",
            f"agentcap: the key of {two.url}/v1 comes from SECOND_KEY",
            "agentcap: 6 sessions = 2 tasks × 1 agent × 3 models × 1 trial, 1 turn each",
        ]
    )
    for upstream, key in ((one, FIRST), (two, SECOND)):
        assert {headers.get("authorization") for _, headers in upstream.seen} == {f"Bearer {key}"}
        assert sorted({path for path, _ in upstream.seen}) == [
            *("/info", "/props", "/v1/chat/completions", "/v1/models", "/version"),
        ]
        assert len(upstream.seen) == 7
    found = {(run["model"], run["upstream"], run["provider"], run["label"]) for run in project.manifests()}
    assert found == {
        ("org/m", one.url, "local", "local"),
        ("org/m", f"{two.url}/v1", "local", "hosted"),
        ("s", "scripted", "scripted", "given"),
    }
    ids = {result["nodeid"].partition("[")[2] for result in project.results()}
    assert ids == {f"shell-{name}-{task}]" for name in ("m-local", "m-hosted", "s") for task in "ab"}
    rows = [row for run in project.runs() for row in pq.read_table(run / "captures.parquet").to_pylist()]
    assert {(row["upstream_url"], row["label"]) for row in rows} == {(url, label) for _, url, _, label in found}
    stored = [path.read_bytes() for run in project.runs() for path in run.rglob("*") if path.is_file()]
    assert not [data for data in stored if FIRST.encode() in data or SECOND.encode() in data]


def test_a_refused_key_and_a_server_that_is_away_are_named_before_anything_runs(project, http_upstream):
    project.write_shell_agent()
    project.write_tasks("true")
    with http_upstream(lambda path: answer("x")) as one, http_upstream(lambda path: (401, b"{}")) as two:
        entries = [{"model_id": name, "base_url": each.url, "api_key": "k"} for name, each in (("a", one), ("b", two))]
        project.write("models.json", json.dumps(entries))
        done = project.pytest("--agent", "shell", "--sandbox", "host", "--models", "models.json")
    assert done.ret == 4
    done.stderr.fnmatch_lines([f"*--models: {two.url}: answered 401 to the key from --models"])
    assert not project.runs()


@pytest.mark.parametrize("other", [("--model", "m"), ("--upstream", "http://h"), ("--api-key", "k")])
def test_a_list_of_models_excludes_what_it_says_itself(project, other):
    project.write("models.toml", '[[models]]\nid = "m"\nupstream = "scripted"\n')
    done = project.pytest("--agent", "loop", "--models", "models.toml", *other)
    assert done.ret == 4
    done.stderr.fnmatch_lines([f"*--models and {other[0]} exclude each other*"])


def test_a_variable_without_a_key_is_a_usage_error(project):
    project.write("models.toml", '[[models]]\nid = "m"\nupstream = "http://h"\napi_key_env = "NOT_SET_HERE"\n')
    done = project.pytest("--agent", "loop", "--models", "models.toml")
    assert done.ret == 4
    done.stderr.fnmatch_lines(["*--models: m: the variable NOT_SET_HERE is not set"])


def test_a_list_takes_no_key_that_is_meant_for_one_server(pytester, project, monkeypatch):
    project.write("models.toml", '[[models]]\nid = "m"\nupstream = "https://router.huggingface.co"\n')
    monkeypatch.setenv("AGENTCAP_API_KEY", "sk-for-nobody-here")
    monkeypatch.setenv("HF_TOKEN", "hf_0123456789")
    config = pytester.parseconfigure("-p", "agentcap", "--models", "models.toml")
    settings = config.stash[SETTINGS]
    key = key_of(settings.targets[0], settings)
    assert (key.source, key.value) == ("HF_TOKEN", "hf_0123456789")
    assert "0123456789" not in repr(ModelTarget("m", "http://h", api_key="sk-0123456789"))
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(KeyMissing):
        key_of(ModelTarget("m", "http://h", api_key_env="HF_TOKEN"), settings)


def test_agentgyms_list_of_models_is_read(tmp_path):
    path = tmp_path / "models.json"
    models = [
        {"model_id": "a", "base_url": "https://one.example/v1/", "api_key": "OPENAI_API_KEY", "temperature": 0.2},
        {"model_id": "b", "base_url": "http://two.example", "api_key": "sk-literal", "max_output_tokens": 1024},
        {"model_id": "c", "base_url": "http://three.example"},
    ]
    path.write_text(json.dumps({"session_name": "x", "repos": ["r"], "models": models}))
    expected = (
        ModelTarget("a", "https://one.example/v1", api_key_env="OPENAI_API_KEY"),
        ModelTarget("b", "http://two.example", api_key="sk-literal"),
        ModelTarget("c", "http://three.example"),
    )
    assert read_models(path) == expected
    path.write_text(json.dumps(models))
    assert read_models(path) == expected


def test_a_model_of_agentgym_without_a_server_has_the_environments(tmp_path, monkeypatch):
    path = tmp_path / "models.json"
    models = [{"model_id": "a"}, {"model_id": "b", "base_url": None, "api_key": None, "temperature": 1.0}]
    path.write_text(json.dumps({"models": models, "dry_run": False}))
    monkeypatch.delenv("AGENTCAP_UPSTREAM", raising=False)
    monkeypatch.setenv("OPENAI_BASE_URL", "https://one.example/v1/")
    assert read_models(path) == tuple(ModelTarget(name, "https://one.example/v1") for name in "ab")
    monkeypatch.delenv("OPENAI_BASE_URL")
    with pytest.raises(ModelsError, match=r"models\.json: a has no `base_url`: give it one, or set AGENTCAP_UPSTREAM"):
        read_models(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Object missing required field `models`"),
        ("models = []", "models: empty"),
        ('[[models]]\nid = "m"', "Object missing required field `upstream` - at `$.models[0]`"),
        ('[[models]]\nid = "m"\nupstream = "scripted"\nkey = "k"', "unknown field `key` - at `$.models[0]`"),
        ('[[models]]\nid = "two words"\nupstream = "scripted"', "models[0]: 'two words' is not a model id"),
        ('[[models]]\nid = "m"\nupstream = "ftp://h"', "models[0]: 'ftp://h' is no upstream"),
        ('[[models]]\nid = "m"\nupstream = "scripted"\n' * 2, "models[1]: m at scripted is there twice: add a label"),
        ("models = ", "models.toml: "),
    ],
)
def test_an_error_names_file_and_key(tmp_path, text, said):
    path = tmp_path / "models.toml"
    path.write_text(text)
    with pytest.raises(ModelsError) as error:
        read_models(path)
    assert str(error.value).startswith(f"{path}: ")
    assert said in str(error.value)
