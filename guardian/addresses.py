"""Which addresses outgoing calls may reach: what is public, and what an operator allowed beside."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# IANA's special-purpose registry, in full: what Python calls global differs between its releases.
_NOT_PUBLIC_4 = [
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
        "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24",
        "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15",
        "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    )
]  # fmt: skip
# Global unicast is 2000::/3 and nothing else; of it, Teredo and its neighbours, documentation and
# 6to4, which would carry an IPv4 address of its maker's choice past these rules.
_GLOBAL_6 = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_6 = [
    ipaddress.IPv6Network(text)
    for text in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
]
# A translator at the far end of this prefix turns the last 32 bits into an IPv4 address (RFC 6052).
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def networks(texts: Iterable[str]) -> list[Network]:
    """Raises ValueError."""
    return [ipaddress.ip_network(text.strip()) for text in texts]


def plain(address: Address) -> Address:
    """The address that a packet ends up at: mapped and translated IPv4 shown as what it is."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def is_public(address: Address) -> bool:
    """Whether the whole internet reaches the same machine at this address."""
    real = plain(address)
    if isinstance(real, ipaddress.IPv4Address):
        return not any(real in network for network in _NOT_PUBLIC_4)
    # An interface id of ISATAP carries an IPv4 address, too (RFC 5214).
    if (int(real) >> 32) & 0xFDFFFFFF == 0x00005EFE:
        return False
    return real in _GLOBAL_6 and not any(real in network for network in _NOT_PUBLIC_6)


@dataclass(frozen=True, slots=True)
class Allowance:
    """A network an operator opened: for the usual ports, or for one other port alone."""

    network: Network
    port: int | None

    def covers(self, address: Address, port: int, *, usual: bool) -> bool:
        fits = usual if self.port is None else self.port == port
        return fits and plain(address) in self.network


def allowances(entries: Iterable[str]) -> tuple[Allowance, ...]:
    """`10.1.0.0/16`, `10.1.2.3:8443`, `[fd00::/8]:8443`. Raises ValueError naming the entry."""
    return _parsed(tuple(entries))


@lru_cache(maxsize=16)
def _parsed(entries: tuple[str, ...]) -> tuple[Allowance, ...]:
    return tuple(_allowance(entry.strip()) for entry in entries if entry.strip())


def _allowance(entry: str) -> Allowance:
    network, port = entry, ""
    if entry.startswith("["):
        network, _, rest = entry[1:].partition("]")
        port = rest.removeprefix(":")
    elif entry.count(":") == 1:
        network, _, port = entry.partition(":")
    try:
        number = int(port) if port else None
        allowance = Allowance(ipaddress.ip_network(network, strict=False), number)
    except ValueError as error:
        raise ValueError(f"{entry!r} is no network: {error}") from error
    if number is not None and not 1 <= number <= 65535:
        raise ValueError(f"{entry!r} names no port")
    return allowance
