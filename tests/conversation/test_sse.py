from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_agentcap.conversation.sse import Event, EventDecoder, read_events


def decode(*pieces: str, cut: bool = True) -> list[Event]:
    return list(read_events(pieces, cut=cut))


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_every_line_ending_of_the_standard_ends_lines_and_events(end):
    stream = end.join(["event: delta", "data: one", "data: two", "", "data: three", "", ""])
    assert decode(stream, cut=False) == [Event("delta", "one\ntwo"), Event("message", "three")]


def test_data_lines_are_joined_and_one_leading_blank_is_dropped():
    assert decode("data:  a\ndata:b\ndata\n\n") == [Event("message", " a\nb\n")]


def test_comments_and_unknown_fields_are_passed_over():
    assert decode(": ping\n\nid: 7\nretry: 10\nfoo: bar\ndata: x\n\n") == [Event("message", "x")]


def test_an_event_without_data_is_dropped_and_its_type_forgotten():
    assert decode("event: ghost\n\ndata: x\n\n") == [Event("message", "x")]


def test_an_empty_data_line_is_an_event():
    assert decode("data\n\n") == [Event("message", "")]


def test_only_the_first_byte_order_mark_is_dropped():
    assert decode("\ufeff", "data: \ufeff\n\n") == [Event("message", "\ufeff")]


def test_a_last_event_without_blank_line_is_kept_unless_told_otherwise():
    assert decode("data: a\n\ndata: b") == [Event("message", "a"), Event("message", "b")]
    assert decode("data: a\n\ndata: b\n", cut=False) == [Event("message", "a")]


def test_characters_that_python_takes_for_line_ends_stay_in_the_data():
    text = "\u2028\u2029\x85\x0b\x0c\x1c"
    assert decode(f"data: {text}\n\n") == [Event("message", text)]


def test_a_blank_line_split_between_carriage_return_and_newline_ends_one_event_only():
    decoder = EventDecoder()
    assert list(decoder.feed("data: a\r\n\r")) == [Event("message", "a")]
    assert list(decoder.feed("\ndata: b\r\n\r\n")) == [Event("message", "b")]
    assert list(decoder.close()) == []


streams = st.lists(
    st.sampled_from(
        ["data: x", "data:", "data", "event: e", ": c", "\ufeff", "id: 1", "\r", "\n", "\r\n", " ", "é\u2028"]
    )
).map("".join)


@given(streams, st.data(), st.booleans())
def test_any_split_of_a_stream_gives_the_same_events(stream, data, cut):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert decode(*pieces, cut=cut) == decode(stream, cut=cut)


@given(st.lists(st.text().filter(lambda text: not set(text) & set("\r\n"))), st.sampled_from(["\n", "\r", "\r\n"]))
def test_what_is_written_as_data_is_read_as_data(lines, end):
    written = "".join(f"data: {line}{end}{end}" for line in lines)
    assert [event.data for event in read_events(written)] == lines
