"""Which peers are proxies of this installation, whose forwarding headers are believed."""

import ipaddress
from functools import lru_cache

from django.conf import settings

from guardian.addresses import Network, networks, plain


def is_trusted(peer: str) -> bool:
    """Whether an address is, or lies in a network, of LEMNOS_TRUSTED_PROXIES."""
    if not settings.TRUSTED_PROXIES:
        return False
    try:
        address = plain(ipaddress.ip_address(peer))
    except ValueError:  # a unix socket has no address
        return False
    return any(address in network for network in _networks(tuple(settings.TRUSTED_PROXIES)))


@lru_cache(maxsize=8)
def _networks(texts: tuple[str, ...]) -> list[Network]:
    return networks(texts)
