from __future__ import annotations

import pytest

from pytest_agentcap.proxy.journal import Journal
from pytest_agentcap.proxy.leases import Leases, new_token


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "a.journal", {})
    yield journal
    journal.close()


def test_a_lease_is_found_by_its_token_until_it_is_revoked(journal):
    leases = Leases()
    lease = leases.grant(journal)
    other = leases.grant(journal)
    assert leases.find(lease.token) is lease

    leases.revoke(lease)
    leases.revoke(lease)

    assert leases.find(lease.token) is None
    assert leases.find(other.token) is other


@pytest.mark.parametrize("change", [str.upper, lambda t: t[:-1], lambda t: t + "0", lambda t: "", lambda t: "é\udc80"])
def test_any_other_token_is_refused_and_counted(journal, change):
    leases = Leases()
    lease = leases.grant(journal, "abcdef0123456789")

    assert leases.find(change(lease.token)) is None
    assert leases.refused == 1


def test_tokens_have_128_bits_and_fit_into_a_path():
    tokens = {new_token() for _ in range(1000)}

    assert len(tokens) == 1000
    assert all(len(token) == 32 and int(token, 16) >= 0 for token in tokens)
