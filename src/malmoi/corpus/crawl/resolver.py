"""The guard at the connection.

It stands where names are resolved, literal addresses too, and the connection is made to the very addresses that passed
it: a name that is resolved once more, to something else (DNS rebinding), gains nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from twisted.internet.interfaces import IAddress, IHostnameResolver, IHostResolution, IResolutionReceiver
from zope.interface import implementer

from malmoi.corpus.crawl.addresses import Network, is_allowed

if TYPE_CHECKING:
    from scrapy.crawler import Crawler


@implementer(IHostnameResolver)
class GuardedResolver:
    """Twisted's resolver, whose answers are only the addresses that may be connected to.

    Attributes:
        refused: host -> an address of it that was not given on.
    """

    def __init__(self, reactor: Any, networks: Sequence[Network]) -> None:
        self._reactor, self._networks = reactor, networks
        self._inner: Any = reactor.nameResolver
        self.refused: dict[str, str] = {}

    @classmethod
    def from_crawler(cls, crawler: Crawler, reactor: Any) -> Self:
        return cls(reactor, crawler.settings["PRIVATE_NETWORKS"])

    def install_on_reactor(self) -> None:
        """Become the reactor's only resolver."""
        self._reactor.installNameResolver(self)

    def resolveHostName(self, receiver: Any, host: str, /, *arguments: Any, **options: Any) -> IHostResolution:  # noqa: N802
        """See twisted.internet.interfaces.IHostnameResolver."""
        guarded = _Receiver(receiver, host, self._networks, self.refused)
        resolution: IHostResolution = self._inner.resolveHostName(guarded, host, *arguments, **options)
        return resolution


@implementer(IResolutionReceiver)
class _Receiver:
    def __init__(self, inner: Any, host: str, networks: Sequence[Network], refused: dict[str, str]) -> None:
        self._host, self._networks, self._refused = host, networks, refused
        self._inner = inner
        self.resolutionBegan, self.resolutionComplete = inner.resolutionBegan, inner.resolutionComplete

    def addressResolved(self, address: IAddress) -> None:  # noqa: N802
        """Give the address on, or not."""
        where = str(getattr(address, "host", ""))
        if is_allowed(where, self._networks):
            self._inner.addressResolved(address)
        else:
            self._refused[self._host] = where
