from __future__ import annotations

import io
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_agentcap.runs.frames import PACKED, REQUEST, RESPONSE, SESSION, encode_frame, read_body, read_frames
from pytest_agentcap.runs.packing import Packer, Unpacker


@given(st.lists(st.lists(st.binary(max_size=300), max_size=4), max_size=6))
def test_every_body_comes_back_as_soon_as_its_part_is_there(bodies):
    packer, unpacker = Packer(), Unpacker()
    for number, pieces in enumerate(bodies):
        assert unpacker.unpack(number, packer.pack(pieces)) == b"".join(pieces)


def test_a_body_that_repeats_the_last_one_takes_next_to_nothing():
    chance = random.Random(1)
    history = chance.randbytes(300_000)
    packer = Packer()
    first, second = packer.pack([history]), packer.pack([history, b"one more message"])
    assert len(first) > 300_000
    assert len(second) < 1000


def test_the_last_body_can_be_had_again():
    packer, unpacker = Packer(), Unpacker()
    parts = [packer.pack([b"one"]), packer.pack([b"two"])]
    for at, body in ((0, b"one"), (0, b"one"), (9, b"two"), (9, b"two")):
        assert unpacker.unpack(at, parts[at // 9]) == body


def test_another_packer_begins_another_stream():
    unpacker = Unpacker()
    lost, first, second = Packer(), Packer(), Packer()
    lost.pack([b"lost"])
    parts = [first.pack([b"one"]), second.pack([b"two"]), second.pack([b"three"])]
    assert [unpacker.unpack(number, part) for number, part in enumerate(parts)] == [b"one", b"two", b"three"]


def test_a_part_without_the_ones_before_it_is_an_error():
    packer = Packer()
    packer.pack([b"one" * 100])
    with pytest.raises(ValueError, match="follows none"):
        Unpacker().unpack(7, packer.pack([b"two"]))


def test_a_damaged_part_is_an_error():
    part = Packer().pack([b"x" * 1000, random.Random(2).randbytes(1000)])
    with pytest.raises(ValueError, match="damaged"):
        Unpacker().unpack(0, part[:6] + b"\xff" * (len(part) - 6))


def test_a_packed_frame_is_read_as_the_request_that_it_stands_for():
    packer = Packer()
    records = [
        encode_frame(SESSION, {"task_id": "x"}),
        encode_frame(PACKED, {"request_id": "a"}, packer.pack([b"one"])),
        encode_frame(RESPONSE, {"request_id": "a"}, b"answer"),
        encode_frame(REQUEST, {"request_id": "b"}, b"short"),
        encode_frame(PACKED, {"request_id": "c"}, packer.pack([b"one ", b"and two"])),
    ]
    data = b"".join(buffer for record in records for buffer in record)
    file = io.BytesIO(data)
    frames = list(read_frames(file))
    assert [(frame.kind, frame.body) for frame in frames[1:]] == [
        (REQUEST, b"one"),
        (RESPONSE, b"answer"),
        (REQUEST, b"short"),
        (REQUEST, b"one and two"),
    ]
    assert [read_body(file, frame) for frame in frames[1:]] == [frame.body for frame in frames[1:]]

    # Frame by frame, each read twice: as a reader does that could not write a pair.
    unpacker, offset = Unpacker(), 0
    for frame in frames:
        for _ in range(2):
            assert next(read_frames(file, offset, unpacker)) == frame
        offset = frame.end


def test_a_torn_packed_frame_is_left_for_later():
    packer = Packer()
    whole = b"".join(encode_frame(PACKED, {"request_id": "a"}, packer.pack([b"x" * 5000])))
    for end in range(len(whole)):
        assert list(read_frames(io.BytesIO(whole[:end]))) == []
