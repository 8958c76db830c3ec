from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_agentcap.runs.captures import read_half
from pytest_agentcap.runs.verbatim import embed_body, embed_stream, envelope, is_embeddable

RID = "0123456789abcdef" * 2
HEAD = {"request_id": RID, "turn": 1}

EMBEDDABLE = {
    "key order": b'{"z":1,"a":2,"m":3}',
    "beyond a double": b'{"temperature":1e400,"low":-1e400}',
    "number spelling": b"[1.0, 1, 1e0, 10E-1, -0, -0.0, 0.10, 1.7976931348623157e309]",
    "beyond 64 bits": b"[18446744073709551616, -170141183460469231731687303715884105729]",
    "duplicate keys": b'{"model":"a","model":"b"}',
    "lone surrogates": b'{"a":"\\ud800","b":"\\udfff\\ud83d","c":"\\ud83d\\ude00"}',
    "CJK and emoji": '{"text":"漢字かな交じり文 🎉👩‍🚀"}'.encode(),
    "escaped and not": b'["\\u6f22", "\xe6\xbc\xa2", "\\/", "/"]',
    "line separators": '["\u2028\u2029\x7f"]'.encode(),
    "outer white space": b' \t\r\n{"a": 1} \n\n',
    "inner white space": b'{\n  "a" :\t1\r\n}',
    "a list": b'[{"role":"user"}]',
    "a string": b'"}"',
    "a brace in a string": b'"},\\"request_id\\":\\"evil\\"}"',
    "null": b"null",
    "an empty key": b'{"":{"":[]}}',
    "the envelope's own keys": b'{"request_id":"evil","body_bytes":1,"body":2,"raw":3}',
}
NOT_EMBEDDABLE = {
    "empty": b"",
    "only white space": b" \n",
    "no JSON": b"model=gpt&stream=true",
    "cut off": b'{"a":',
    "a forged envelope": b'1,"request_id":"evil"',
    "a forged end": b'1}\n{"request_id":"evil"',
    "two values": b"{} {}",
    "NaN": b'{"a":NaN}',
    "Infinity": b"[Infinity]",
    "-Infinity": b"-Infinity",
    "a BOM": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "invalid UTF-8": b'{"a":"\xff"}',
    "surrogates in UTF-8": b'"\xed\xa0\x80"',
    "overlong UTF-8": b'"\xc0\xaf"',
    "a control character": b'"\x00"',
    "other white space": b"\xc2\xa0{}",
    "deep nesting": b"[" * 200_000 + b"]" * 200_000,
    "an endless integer": b"9" * 10_000,
    "binary": bytes(range(256)),
}


def read(tmp_path, data):
    path = tmp_path / f"{RID}.request.json"
    path.write_bytes(data)
    return read_half(path)


@pytest.mark.parametrize("body", EMBEDDABLE.values(), ids=EMBEDDABLE)
def test_json_is_embedded_as_the_very_text_that_was_sent(tmp_path, body):
    data = embed_body(HEAD, body)

    assert is_embeddable(body)
    assert data.endswith(b',"body":' + body + b"}\n")
    assert json.loads(data)["request_id"] == RID
    assert read(tmp_path, data).text == body
    assert "body_base64" not in json.loads(data)


@pytest.mark.parametrize("body", NOT_EMBEDDABLE.values(), ids=NOT_EMBEDDABLE)
def test_anything_else_is_kept_as_text_and_exactly_in_base64(tmp_path, body):
    data = embed_body(HEAD, body)
    document = json.loads(data)

    assert not is_embeddable(body)
    assert document["request_id"] == RID
    assert base64.b64decode(document["body_base64"]) == body
    assert document["body"] == {"_unparsed_raw": body.decode("utf-8", "replace")}
    assert base64.b64decode(read(tmp_path, data).head["body_base64"]) == body


@settings(deadline=None, max_examples=300)
@given(
    st.one_of(
        st.binary(max_size=100),
        st.text(alphabet='{}[]",:\\ue+-.01truefalsn \n\ud800', max_size=30).map(lambda t: t.encode("utf-8", "replace")),
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
            lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
            max_leaves=8,
        ).map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")),
    )
)
def test_whatever_the_body_is_it_comes_back_and_the_envelope_is_ours(tmp_path_factory, body):
    data = embed_body(HEAD, body)
    half = read(tmp_path_factory.mktemp("any"), data)
    document = json.loads(data)

    assert list(document)[:3] == ["request_id", "body_bytes", "turn"]
    assert list(document)[-1] == half.key == "body"
    assert (document["request_id"], document["turn"]) == (RID, 1)
    assert document["body_bytes"] == len(half.text)
    if is_embeddable(body):
        assert half.text == body
    else:
        assert base64.b64decode(half.head["body_base64"]) == body


TOKENS = [*'{}[]:,"\\/ \t\n\r\x0b\x1f\x7f\u00a0é-+.eE019xu', '"a"', "\\u", "\\ud800", "1e5", "true", "nul", "NaN"]


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from(TOKENS), max_size=12).map(lambda tokens: "".join(tokens)))
def test_what_may_be_embedded_is_what_the_json_module_reads(text):
    def refuse(constant):
        raise ValueError(constant)

    try:
        json.loads(text, parse_constant=refuse)
        readable = True
    except ValueError:
        readable = False
    assert is_embeddable(text.encode()) == readable


@pytest.mark.parametrize("before", [0, 1, 700, 1432, 1433, 1434, 2865, 4299, 4300])
def test_a_number_that_the_json_module_does_not_read_is_found_wherever_it_is(before):
    padding = b'["' + b"x" * before + b'",'
    assert is_embeddable(padding + b"9" * 4300 + b"]")
    assert not is_embeddable(padding + b"9" * 4301 + b"]")


@settings(deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text().map(lambda text: text.encode())))
def test_a_stream_is_kept_as_raw_text_or_exactly_in_base64(tmp_path_factory, raw):
    half = read(tmp_path_factory.mktemp("any"), embed_stream(HEAD, raw))
    text = json.loads(half.text)

    assert half.key == "raw"
    if "raw_base64" in half.head:
        assert base64.b64decode(half.head["raw_base64"]) == raw
        assert text == raw.decode("utf-8", "replace")
    else:
        assert text.encode() == raw


@pytest.mark.parametrize(
    "raw", ["data: 漢字 🎉\n\n".encode(), b"\xef\xbb\xbfdata: 1\r\n\r\n", b'data: "\\ud800"\n\n', b""]
)
def test_a_streams_text_is_not_inflated(raw):
    data = embed_stream(HEAD, raw)

    assert "raw_base64" not in json.loads(data)
    assert raw.decode() in json.loads(data)["raw"]
    assert b"\\u6f22" not in data


def test_the_size_of_the_body_is_told_before_anything_that_others_wrote():
    data = envelope({"request_id": RID, "path": '","body_bytes":1'}, "body", b"{}")
    assert data.startswith(b'{"request_id":"' + RID.encode() + b'","body_bytes":2,')
