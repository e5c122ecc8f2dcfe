"""Whose connection it is when a proxy stands before us.

Limits count per address, and a proxy that ends TLS brings everybody in under its own. It says in
`X-Forwarded-For` whom it speaks for, but so can anybody: the header is believed only of peers that
the settings name as proxies, and of a chain only as far as it consists of such.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network


def network(text: str) -> Network:
    """An address, or a network such as 10.0.0.0/8. Raises ValueError."""
    return ip_network(text, strict=False)


def client_address(peer: str, forwarded_for: str, proxies: Sequence[Network]) -> str:
    """The last address of the chain, counted from us, that is no proxy of ours: the peer itself
    unless it is one. What is no address ends the chain."""
    chain = [part.strip() for part in forwarded_for.split(",")]
    address = peer
    while chain and _is_within(address, proxies):
        claimed = chain.pop()
        try:
            address = str(ip_address(claimed))
        except ValueError:
            break
    return address


def _is_within(address: str, networks: Sequence[Network]) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return any(found in network for network in networks)
