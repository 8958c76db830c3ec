"""Captured requests by rid, rendered by a chat template, and read by DuckDB."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_agentcap.captures import UnknownRequest, load_request, load_requests, load_template_inputs
from pytest_agentcap.conversation.files import hub_errors
from pytest_agentcap.publish.parquet import write_parquet
from pytest_agentcap.runs.layout import RunDirectory

TEMPLATE = """
{%- for tool in tools or [] %}<tool>{{ tool.function.name }}</tool>{% endfor %}
{%- for message in messages %}<{{ message.role }}>{{ message.content or '' }}
{%- for call in message.tool_calls or [] -%}
[{{ call.function.name }}{% for key, value in call.function.arguments.items() %} {{ key }}={{ value }}{% endfor %}]
{%- endfor %}{% endfor %}
{%- if add_generation_prompt %}<assistant>{% endif %}"""


@pytest.fixture
def run(tmp_path, new_session, monkeypatch):
    """A run with two calls of which the second repeats a tool call of the first, and its parquet."""
    monkeypatch.setenv("AGENTCAP_WORKSPACE", str(tmp_path))
    session = new_session()
    messages = [session.SYSTEM, session.user("buy milk")]
    asks = session.says(None, ("c1", {"command": "ls", "times": 2}))
    session.call(messages, asks, request_id="aaaa1" + "0" * 27)
    session.call([*messages, asks, session.result("c1", "a")], session.says("ok"), request_id="aaaa2" + "0" * 27)
    run = RunDirectory(tmp_path / ".agentcap" / "pi-local-1")
    session.save(run)
    write_parquet(run)
    return run


@pytest.fixture(params=["run directory", "captures", "run id", "parquet", "folder"])
def source(request, run, tmp_path):
    """Every kind of local source that holds the run."""
    alone = tmp_path / "data"
    alone.mkdir()
    (alone / "train-0.parquet").write_bytes(run.parquet.read_bytes())
    return {
        "run directory": run.path,
        "captures": str(run.captures),
        "run id": run.id,
        "parquet": run.parquet,
        "folder": alone,
    }[request.param]


def test_a_request_is_found_by_its_id_or_the_first_digits_of_it(source):
    body = load_request(source, "aaaa1" + "0" * 27)
    assert body["messages"][1] == {"role": "user", "content": "buy milk"}
    assert load_request(source, "aaaa1") == body


def test_several_requests_come_in_the_order_asked_for(source):
    found = load_requests(source, ["aaaa2", "aaaa1"])
    assert [rid[:5] for rid in found] == ["aaaa2", "aaaa1"]
    assert [len(body["messages"]) for body in found.values()] == [4, 2]


def test_an_unknown_or_ambiguous_id_is_told(source):
    with pytest.raises(UnknownRequest, match=r"holds no request bbbb, cccc"):
        load_requests(source, ["aaaa1", "bbbb", "cccc"])
    with pytest.raises(UnknownRequest, match=r"aaaa is ambiguous in .*: aaaa10+, aaaa20+"):
        load_request(source, "aaaa")
    with pytest.raises(UnknownRequest, match="is no request id"):
        load_request(source, "../x")


def test_what_is_no_source_is_told(tmp_path, run):
    (tmp_path / "odd.parquet").write_text("x")
    (tmp_path / "empty").mkdir()
    for source in ("nothing", tmp_path / "odd.parquet", tmp_path / "empty"):
        with pytest.raises(ValueError, match=f"^{source}: "):
            load_request(source, "aaaa1")


class Hub:
    """Stand in for `HfFileSystem`: the files of a folder, as a repository."""

    root: Path
    asked: list[str]

    def glob(self, pattern: str) -> list[str]:
        Hub.asked.append(pattern)
        return [str(path.relative_to(Hub.root)) for path in Hub.root.glob(pattern)]

    def open(self, path: str, mode: str, **_: Any) -> Any:
        return (Hub.root / path).open(mode)


@pytest.mark.parametrize(
    "place", ["hf://datasets/org/base-captures", "org/base-captures", "hf://datasets/org/base-captures/data/t.parquet"]
)
def test_a_dataset_on_the_hub_is_a_source(place, run, tmp_path, monkeypatch):
    Hub.root, Hub.asked = tmp_path / "hub", []
    folder = Hub.root / "datasets" / "org" / "base-captures" / "data"
    folder.mkdir(parents=True)
    (folder / "t.parquet").write_bytes(run.parquet.read_bytes())
    monkeypatch.setattr("huggingface_hub.HfFileSystem", Hub)
    assert len(load_request(place, "aaaa2")["messages"]) == 4
    assert Hub.asked == ([] if place.endswith(".parquet") else ["datasets/org/base-captures/**/*.parquet"])


def test_a_hub_that_breaks_off_is_told(run, tmp_path, monkeypatch):
    Hub.root, Hub.asked = tmp_path / "hub", []
    folder = Hub.root / "datasets" / "org" / "base-captures"
    folder.mkdir(parents=True)
    (folder / "t.parquet").write_bytes(run.parquet.read_bytes())
    (failure, *_) = hub_errors()

    def break_off(hub: Hub, path: str, mode: str, **_: Any) -> Any:
        raise failure("the connection is gone")

    monkeypatch.setattr(Hub, "open", break_off)
    monkeypatch.setattr("huggingface_hub.HfFileSystem", Hub)
    with pytest.raises(OSError, match=r"^org/base-captures: the connection is gone$"):
        load_request("org/base-captures", "aaaa1")


def test_template_inputs_hold_arguments_as_objects(source):
    inputs = load_template_inputs(source, "aaaa2")
    assert inputs.messages[2]["tool_calls"][0]["function"]["arguments"] == {"command": "ls", "times": 2}
    assert inputs.tools
    assert inputs.tools[0]["function"]["name"] == "bash"


def test_a_captured_request_is_rendered_by_a_tokenizer_of_transformers(run, tmp_path):
    import tokenizers
    import transformers

    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    folder = tmp_path / "tokenizer"
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, chat_template=TEMPLATE).save_pretrained(folder)

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    inputs = load_template_inputs(run.path, "aaaa2")
    text = tokenizer.apply_chat_template(
        inputs.messages, tools=inputs.tools, tokenize=False, add_generation_prompt=True
    )
    assert text == (
        "<tool>bash</tool><system>you are an agent<user>buy milk<assistant>[bash command=ls times=2]<tool>a<assistant>"
    )


def test_duckdb_reads_the_parquet(run):
    import duckdb

    query = f"SELECT task_id, count(*), sum(prompt_tokens) FROM '{run.parquet}' GROUP BY task_id"
    assert duckdb.sql(query).fetchall() == [("buy", 2, 20)]
    first = f"SELECT request->>'$.messages[1].content' FROM '{run.parquet}' WHERE call_index = 1"
    assert duckdb.sql(first).fetchall() == [("buy milk",)]
    assert json.loads(duckdb.sql(f"SELECT request FROM '{run.parquet}' LIMIT 1").fetchall()[0][0])["model"] == "org/m"
