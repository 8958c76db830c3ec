from __future__ import annotations

import json
import re

import pytest

from pytest_agentcap.runs.masking import Mask

SECRET = "hf_0123456789"
PLACEHOLDER = rb"agentcap-redacted-[0-9a-f]{8}"


def test_data_without_a_secret_is_the_very_same():
    data = b'{"a": "\xff"}'
    masked, hits = Mask.of([SECRET], "lease-token").apply(data)
    assert masked is data
    assert hits == 0


def test_a_secret_is_replaced_and_counted():
    masked, hits = Mask.of([SECRET]).apply(f'["{SECRET}","x{SECRET}y"]'.encode())
    assert re.fullmatch(rb'\["' + PLACEHOLDER + rb'","x' + PLACEHOLDER + rb'y"\]', masked)
    assert hits == 2


def test_a_placeholder_is_stable_per_secret_and_different_between_them():
    mask, other = Mask.of([SECRET, "another-secret"]), Mask.of(["another-secret", "unrelated-one", SECRET])
    data = f"{SECRET} another-secret".encode()

    assert mask.apply(data) == other.apply(data)
    first, second = mask.apply(data)[0].split()
    assert first != second


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("secret", ['quote"back\\slash', "schlüssel-wört", 'ü"\\\u2028 and more', "tab\tand\nline"])
def test_a_secret_is_found_as_json_spells_it(secret, ascii_only):
    data = json.dumps({"key": secret}, ensure_ascii=ascii_only).encode()
    masked, hits = Mask.of([secret]).apply(data)

    assert hits == 1
    assert re.fullmatch(PLACEHOLDER.decode(), json.loads(masked)["key"])


def test_of_two_secrets_the_longer_one_wins():
    masked, hits = Mask.of(["sk-secret", "sk-secret-longer"]).apply(b"sk-secret-longer")
    assert re.fullmatch(PLACEHOLDER, masked)
    assert hits == 1


@pytest.mark.parametrize("secret", ["", "short", "1234567"])
def test_a_value_that_would_hit_ordinary_text_is_no_secret(secret):
    assert Mask.of([secret]).apply(b"a short text of 1234567") == (b"a short text of 1234567", 0)


def test_a_lease_has_a_placeholder_of_its_own():
    assert Mask.of((), "0123abcd").apply(b"/0123abcd/v1") == (b"/<lease>/v1", 1)


def test_of_a_head_only_the_named_values_are_masked():
    head = {"path": f"/{SECRET}", "headers": [["x", SECRET], [SECRET, "y"]], "other": SECRET, "n": 1}
    masked, hits = Mask.of([SECRET]).apply_to(head, frozenset({"path", "headers", "absent"}))

    assert hits == 3
    assert masked["other"] == SECRET
    assert SECRET not in json.dumps([masked["path"], masked["headers"]])
    assert head["path"] == f"/{SECRET}"
    assert list(masked) == list(head)
