"""Forwarded addresses: believed of our proxies, and of nobody else."""

from __future__ import annotations

import pytest

from gateway.proxies import client_address, network

PROXIES = (network("10.0.0.0/8"), network("::1"))


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("10.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("::1", "2001:DB8::7", "2001:db8::7"),
        ("10.0.0.1", "198.51.100.1, 192.0.2.7", "192.0.2.7"),  # the client made the first one up
        ("10.0.0.1", "198.51.100.1,192.0.2.7, 10.9.9.9", "192.0.2.7"),
        ("10.0.0.1", "10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "192.0.2.7, unknown", "10.0.0.1"),
        ("192.0.2.1", "198.51.100.1", "192.0.2.1"),
        ("", "198.51.100.1", ""),
    ],
)
def test_the_client_is_who_our_own_proxies_name(peer: str, forwarded_for: str, client: str) -> None:
    assert client_address(peer, forwarded_for, PROXIES) == client
    assert client_address(peer, forwarded_for, ()) == peer


def test_a_network_may_be_named_by_any_of_its_addresses() -> None:
    assert network("10.1.2.3/8") == network("10.0.0.0/8")
    with pytest.raises(ValueError, match="does not appear"):
        network("proxy.internal")
