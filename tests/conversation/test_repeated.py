from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_agentcap.conversation.repeated import RepeatedBodies, common_prefix

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
ITEMS = st.lists(st.dictionaries(st.sampled_from(["role", "content", "x"]), VALUES, max_size=3), max_size=5)
BODIES = st.builds(
    lambda before, key, items, after: {**before, key: items, **after},
    st.dictionaries(st.sampled_from(["model", "tools", "messages"]), VALUES, max_size=2),
    st.sampled_from(["messages", "input", "contents"]),
    ITEMS,
    st.dictionaries(st.sampled_from(["stream", "tools"]), VALUES, max_size=2),
)


def body(*messages: str, **others: object) -> bytes:
    return json.dumps({"model": "m", "messages": [{"content": m} for m in messages], **others}).encode()


@given(st.lists(st.tuples(BODIES, st.sampled_from([None, 1]), st.booleans()), max_size=6))
def test_bodies_are_read_as_json_reads_them(bodies):
    reader = RepeatedBodies()
    for value, indent, ascii_only in bodies:
        text = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
        assert reader.read(text) == json.loads(text)


@given(BODIES, st.data())
def test_a_body_that_is_cut_or_changed_anywhere_is_read_as_json_reads_it(value, data):
    text = json.dumps(value).encode()
    at = data.draw(st.integers(0, len(text)))
    changed = text[:at] + data.draw(st.binary(max_size=2)) + text[at + data.draw(st.integers(0, 2)) :]
    reader = RepeatedBodies()
    reader.read(text)
    try:
        told = json.loads(changed)
    except (ValueError, RecursionError):
        told = None
    assert reader.read(changed) == told


def test_repeated_messages_are_the_same_objects():
    reader = RepeatedBodies()
    first = reader.read(body("a", "b", tools=[{"name": "t"}]))
    second = reader.read(body("a", "b", "c", tools=[{"name": "t"}]))
    assert [m["content"] for m in second["messages"]] == ["a", "b", "c"]
    assert second["messages"][1] is first["messages"][1]
    assert second["tools"] is first["tools"]


def test_conversations_that_take_turns_both_go_on():
    reader = RepeatedBodies()
    main, side = reader.read(body("a", "b")), reader.read(body("title"))
    assert reader.read(body("a", "b", "c"))["messages"][1] is main["messages"][1]
    assert reader.read(body("title", "more"))["messages"][0] is side["messages"][0]


def test_what_follows_the_messages_is_read_anew_when_it_changed():
    reader = RepeatedBodies()
    reader.read(body("a", stream=True))
    assert reader.read(body("a", stream=False))["stream"] is False
    assert reader.read(body("a"))["messages"] == [{"content": "a"}]


def test_a_key_that_comes_twice_has_its_last_value():
    reader = RepeatedBodies()
    assert reader.read(b'{"messages":[{"a":1}],"messages":[{"b":2}]}') == {"messages": [{"b": 2}]}


@pytest.mark.parametrize("text", [b"", b"[", b"nonsense", b"\xff", b'{"messages":[' + b"[" * 100_000])
def test_what_is_no_json_is_nothing(text):
    assert RepeatedBodies().read(text) is None


@given(st.text(max_size=20), st.text(max_size=20), st.integers(0, 3))
def test_a_common_prefix_is_found_over_any_length(one, other, steps):
    start = "x" * (steps * (1 << 16) - 3 if steps else 0)
    expected = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
    expected = min(len(one), len(other)) if expected is None else expected
    assert common_prefix(start + one, start + other) == len(start) + expected
