from __future__ import annotations

import json
import zlib
from base64 import b64decode
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_agentcap.view.pool import BLOCK_BYTES, Pool, common_suffix, escaped


def held_in(pool: Pool) -> bytes:
    """Undo what the page's script undoes."""
    return b"".join(zlib.decompress(b64decode(block), -zlib.MAX_WBITS) for block in pool.blocks())


def taken(pool: Pool, slices: list[int]) -> bytes:
    held = held_in(pool)
    return b"".join(held[start : start + length] for start, length in zip(slices[::2], slices[1::2], strict=True))


def body(*messages: Any, **others: Any) -> bytes:
    return json.dumps({"model": "m", "messages": messages, **others}, ensure_ascii=False).encode()


def lines(count: int, word: str = "line") -> str:
    return "".join(f"{word} {number}: {number * 7919 % 1009}\n" for number in range(count))


def test_a_conversation_that_grows_is_held_once():
    pool, messages, bodies = Pool(), [lines(400)], []
    for number in range(50):
        messages.append(lines(5, f"turn {number}"))
        bodies.append(body(*({"role": "user", "content": text} for text in messages), stream=True))
    places = [pool.add_body(each) for each in bodies]
    assert [taken(pool, slices) for slices in places] == bodies
    assert pool.size < len(bodies[-1]) * 1.3
    assert max(map(len, places)) < 2 * 60


def test_an_edit_in_the_midst_of_a_long_text_costs_what_is_around_it():
    pool, text = Pool(), lines(3000)
    pool.add_body(body({"role": "system", "content": text}, {"role": "user", "content": "one"}))
    before = pool.size
    edited = body({"role": "system", "content": text.replace("line 7:", "LINE 7:")}, {"role": "user", "content": "two"})
    assert taken(pool, pool.add_body(edited)) == edited
    assert pool.size - before < 2_000


def test_texts_that_move_are_found_where_they_stood():
    pool, texts = Pool(), [lines(60, f"text {number}") for number in range(20)]
    pool.add_body(body(*texts))
    before = pool.size
    shuffled = body("a new beginning", *reversed(texts))
    assert taken(pool, pool.add_body(shuffled)) == shuffled
    assert pool.size - before < 1_000


def test_a_text_of_a_body_is_the_same_place_as_a_string():
    pool, text = Pool(), lines(300) + 'and "quotes" \\ and ünïcödé\n'
    pool.add_body(body({"role": "user", "content": text}))
    before = pool.size
    slices = pool.add_string(text)
    assert json.loads(b'"' + taken(pool, slices) + b'"') == text
    assert pool.size - before < 300


def test_a_text_of_a_body_in_ascii_is_found_too():
    pool, text = Pool(), "ünïcödé " * 100
    pool.add_body(json.dumps({"messages": [{"role": "user", "content": text}]}).encode())
    before = pool.size
    assert json.loads(b'"' + taken(pool, pool.add_string(text)) + b'"') == text
    assert pool.size == before


def test_half_a_surrogate_pair_is_told_as_an_escape():
    pool, text = Pool(), "x" * 300 + "\ud800" + "é"
    assert json.loads(b'"' + taken(pool, pool.add_string(text)) + b'"') == text
    assert escaped("é") == "é".encode()


def test_blocks_are_of_one_size_but_the_last():
    pool = Pool()
    pool.add_whole(bytes(range(256)) * 4096)
    pool.add_whole(b"end")
    sizes = [len(zlib.decompress(b64decode(block), -zlib.MAX_WBITS)) for block in pool.blocks()]
    assert sizes == [BLOCK_BYTES] * 4 + [3]


def test_what_is_empty_takes_no_place():
    pool = Pool()
    assert pool.add_body(b"") == pool.add_whole(b"") == pool.add(b"") == pool.add_string("") == []


def test_a_common_end_stops_where_it_may_not_go_on():
    assert common_suffix(b"aXbc", b"aYbc", 4) == 2
    assert common_suffix(b"aaaa", b"aaaa", 3) == 3
    assert common_suffix(b"x", b"y", 1) == 0


pieces = st.sampled_from(
    [b'{"a":', b"[", b"]", b",{", b'"', b"\\", b"\\n", b'\\"', b"x" * 300, b"\xff", b"line 1\\n" * 40]
)


@settings(max_examples=50)
@given(st.lists(st.lists(pieces, max_size=12).map(b"".join), max_size=8))
def test_whatever_bodies_hold_comes_back_byte_for_byte(bodies):
    pool = Pool()
    places = [pool.add_body(each) for each in bodies]
    assert [taken(pool, slices) for slices in places] == bodies


@settings(max_examples=50)
@given(st.lists(st.text(max_size=400), max_size=6))
def test_whatever_texts_hold_comes_back(texts):
    pool = Pool()
    places = [pool.add_string(text * 5) for text in texts]
    assert [json.loads(b'"' + taken(pool, slices) + b'"') for slices in places] == [text * 5 for text in texts]
