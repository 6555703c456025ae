"""Which addresses may be connected to: those of the public internet, and those that the user allows."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LAST_32_BITS = [
    ipaddress.IPv6Network(network) for network in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")
]
"""Networks whose addresses stand for the IPv4 address in their last 32 bits: RFC 4291, 2765 and 6052 (NAT64)."""

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_DOCUMENTATION = ipaddress.IPv6Network("3fff::/20")


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet, and so is every IPv4 address that it stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast
    carried = list(_carried(address))
    if carried:
        return all(map(is_public, carried))
    return address.is_global and address in _GLOBAL_UNICAST and address not in _DOCUMENTATION


def is_allowed(text: str, networks: Iterable[Network]) -> bool:
    """Whether to connect to a resolved address, which is public or lies in one of `networks`."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return is_public(address) or any(address in network for network in networks)


def _carried(address: ipaddress.IPv6Address) -> Iterable[ipaddress.IPv4Address]:
    """The IPv4 addresses that an IPv6 address stands for, or leads through."""
    last = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if any(address in network for network in _LAST_32_BITS) or int(address) >> 32 & 0xFFFFFFFF in (0x5EFE, 0x2005EFE):
        yield last  # the latter is ISATAP, RFC 5214
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
