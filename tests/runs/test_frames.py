from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_agentcap.runs.frames import CHUNK, REQUEST, RESPONSE, SESSION, encode_frame, read_body, read_frames

KINDS = st.sampled_from([SESSION, REQUEST, CHUNK, RESPONSE])
HEADS = st.dictionaries(st.text(max_size=5), st.one_of(st.integers(), st.none(), st.text(max_size=20)), max_size=3)
RECORDS = st.lists(st.tuples(KINDS, HEADS, st.binary(max_size=60)), max_size=5)


def encoded(records):
    return [b"".join(encode_frame(*record)) for record in records]


def frames_of(folder, data, offset=0):
    """Return the frames of a journal with these bytes, each with its end and its body, wherever that is read from."""
    path = folder / "a.journal"
    path.write_bytes(data)
    with path.open("rb") as file:
        return [
            ((frame.kind, frame.head, read_body(file, frame)), frame.end) for frame in list(read_frames(file, offset))
        ]


@settings(deadline=None)
@given(RECORDS)
def test_what_is_written_is_read_back(tmp_path_factory, records):
    found = frames_of(tmp_path_factory.mktemp("any"), b"".join(encoded(records)))
    assert [record for record, _ in found] == records


@settings(deadline=None)
@given(RECORDS, st.data())
def test_a_journal_cut_at_any_byte_gives_all_its_whole_frames_and_later_the_rest(tmp_path_factory, records, data):
    parts = encoded(records)
    journal = b"".join(parts)
    cut = data.draw(st.integers(0, len(journal)))
    ends = [sum(map(len, parts[: number + 1])) for number in range(len(parts))]
    whole = sum(end <= cut for end in ends)
    folder = tmp_path_factory.mktemp("any")

    before = frames_of(folder, journal[:cut])
    after = frames_of(folder, journal, before[-1][1] if before else 0)

    assert [record for record, _ in before] == records[:whole]
    assert [record for record, _ in after] == records[whole:]
    assert [end for _, end in before + after] == ends


def test_the_body_is_not_copied_to_be_written():
    body = b"x" * 1000
    assert any(buffer is body for buffer in encode_frame(REQUEST, {"request_id": "r"}, body))


def test_the_pieces_of_a_stream_are_left_on_disk_until_they_are_asked_for(tmp_path):
    path = tmp_path / "a.journal"
    path.write_bytes(b"".join(encoded([(CHUNK, {"n": 1}, b"piece"), (RESPONSE, {"n": 1}, b"end")])))
    with path.open("rb") as file:
        chunk, response = read_frames(file)
        assert (chunk.body, response.body) == (b"", b"end")
        assert read_body(file, chunk) == b"piece"


@pytest.mark.parametrize("zeros", [1, 13, 14, 4096])
def test_zeros_that_a_power_cut_left_are_no_frames(tmp_path, zeros):
    whole = b"".join(encode_frame(REQUEST, {"n": 1}, b"body"))
    assert frames_of(tmp_path, whole + b"\0" * zeros) == [((REQUEST, {"n": 1}, b"body"), len(whole))]


def test_a_frame_that_is_taken_back_under_its_reader_ends_it(tmp_path):
    first, second = encoded([(SESSION, {}, b""), (REQUEST, {"n": 1}, b"body")])
    path = tmp_path / "a.journal"
    for left in range(len(second)):
        path.write_bytes(first + second)
        with path.open("rb", buffering=0) as file:
            frames = read_frames(file)
            assert next(frames).kind == SESSION
            with path.open("r+b") as writer:
                writer.truncate(len(first) + left)
            assert list(frames) == []
