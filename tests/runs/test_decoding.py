"""Content encodings undone, and the lengths of the pieces they leave."""

from __future__ import annotations

import zlib

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pytest_agentcap.runs.decoding import decode_body

EVENTS = [b"data: %d %s\n\n" % (number, b"x" * number) for number in range(40)]


def flushed(encoder, flush):
    """Encode each event so that it can be decoded as soon as it is there."""
    pieces = [encoder.compress(event) + flush(encoder) for event in EVENTS]
    return [*pieces, encoder.flush()]


def gzip():
    return flushed(zlib.compressobj(wbits=31), lambda encoder: encoder.flush(zlib.Z_SYNC_FLUSH))


def zstd():
    encoder = zstandard.ZstdCompressor().compressobj()
    return flushed(encoder, lambda encoder: encoder.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))


@pytest.mark.parametrize(("coding", "encode"), [("gzip", gzip), ("zstd", zstd)])
def test_pieces_have_the_lengths_of_what_they_were_decoded_to(coding, encode):
    wire = encode()
    body, undone, lengths = decode_body(b"".join(wire), coding, True, [len(piece) for piece in wire])
    assert (body, undone) == (b"".join(EVENTS), True)
    assert lengths == [*map(len, EVENTS), 0]


@given(st.lists(st.integers(0, 40), max_size=30))
def test_however_a_body_is_cut_its_lengths_add_up(cuts):
    text = b"".join(EVENTS)
    for coding, wire in (("gzip", b"".join(gzip())), ("br", brotli.compress(text))):
        lengths = [*cuts, max(0, len(wire) - sum(cuts))] if sum(cuts) < len(wire) else [len(wire)]
        body, _, told = decode_body(wire, coding, True, lengths)
        assert body == text
        assert (sum(told), len(told)) == (len(text), len(lengths))


def test_of_a_body_that_broke_off_there_is_what_there_is():
    wire = b"".join(gzip())[:-40]
    body, undone, lengths = decode_body(wire, "gzip", False, [100, len(wire) - 100])
    assert undone
    assert b"".join(EVENTS).startswith(body)
    assert sum(lengths) == len(body) > 100


@pytest.mark.parametrize("coding", ["gzip", "x-own"])
def test_what_is_not_encoded_as_it_says_stays_with_its_pieces(coding):
    assert decode_body(b"plain", coding, True, [2, 3]) == (b"plain", False, [2, 3])


@pytest.mark.parametrize(
    ("coding", "compress"),
    [("gzip", lambda data: zlib.compress(data, wbits=31)), ("zstd", zstandard.compress), ("br", brotli.compress)],
)
def test_a_body_that_would_be_longer_than_allowed_stays_as_it_is(monkeypatch, coding, compress):
    monkeypatch.setattr("pytest_agentcap.runs.decoding.MOST_DECODED", 1_000_000)
    fits, bomb = compress(bytes(1_000_000)), compress(bytes(1_000_001))
    assert decode_body(fits, coding, True, None)[:2] == (bytes(1_000_000), True)
    assert decode_body(bomb, coding, True, [len(bomb)]) == (bomb, False, [len(bomb)])


def test_lengths_that_nobody_told_stay_unknown():
    assert decode_body(b"".join(gzip()), "gzip", True, None)[2] is None
    assert decode_body(b"", "gzip", True, []) == (b"", True, [])
