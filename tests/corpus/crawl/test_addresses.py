"""Private addresses are refused in every form, at the connection."""

import ipaddress

import pytest
from twisted.internet.address import IPv4Address

from malmoi.corpus.crawl.addresses import is_allowed
from malmoi.corpus.crawl.resolver import GuardedResolver


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses_are_allowed(address):
    assert is_allowed(address, [])


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1",
        "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1",
        "::ffff:0:127.0.0.1", "fe80::1", "fe80::1%eth0", "fec0::1", "fd00::1", "ff02::1", "2001:db8::1", "3fff::1",
        "64:ff9b::7f00:1", "64:ff9b::10.0.0.1", "64:ff9b:1::1", "2002:7f00:1::", "2002:c0a8:1::1",
        "2001:0:7f00:1::", "2001:0:808:808::80ff:fffe", "2606:4700::5efe:10.0.0.1", "example.com", "",
    ],
)  # fmt: skip
def test_others_are_not(address):
    assert not is_allowed(address, [])


def test_a_network_that_is_named_is_allowed_and_no_other_form_of_it():
    own = [ipaddress.ip_network("192.168.7.0/24")]
    allowed = [is_allowed(a, own) for a in ("192.168.7.9", "192.168.8.9", "::ffff:192.168.7.9")]
    assert allowed == [True, False, False]


class TwoFacedResolver:
    """Answers with a public and a private address, as an attacker's name server may."""

    def resolveHostName(self, receiver, host, **_):  # noqa: N802
        receiver.resolutionBegan(None)
        for address in ("93.184.216.34", "127.0.0.1"):
            receiver.addressResolved(IPv4Address("TCP", address, 80))
        receiver.resolutionComplete()


class Received:
    def __init__(self):
        self.addresses, self.complete = [], False

    def resolutionBegan(self, resolution):  # noqa: N802
        pass

    def addressResolved(self, address):  # noqa: N802
        self.addresses.append(address.host)

    def resolutionComplete(self):  # noqa: N802
        self.complete = True


def test_only_public_addresses_reach_the_connection_and_the_others_are_remembered():
    reactor = type("Reactor", (), {"nameResolver": TwoFacedResolver()})
    guard, received = GuardedResolver(reactor, []), Received()
    guard.resolveHostName(received, "rebinding.example", portNumber=80)
    assert (received.addresses, received.complete) == (["93.184.216.34"], True)
    assert guard.refused == {"rebinding.example": "127.0.0.1"}
