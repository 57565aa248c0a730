"""What may be called at all: a URL taken apart in the one way that everybody reads alike."""

import ipaddress
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import idna
from django.conf import settings

from guardian.addresses import Address, allowances, is_public
from guardian.errors import EgressRefused

URL_CHARACTERS = 2048
USUAL_PORTS = {"https": 443, "http": 80}
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
_SAFE = "/%:=&?~+!$,;'@()*[]"


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart and found well-formed; its addresses are not known yet."""

    scheme: str
    host: str  # a name in ASCII, or an address without brackets
    port: int
    path: str  # with the query; never shown in errors and logs: it may carry a secret
    literal: Address | None

    @property
    def usual(self) -> bool:
        return self.port == USUAL_PORTS[self.scheme]

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.usual else f":{self.port}")


def check_url(url: str) -> Target:
    """What can be said of a URL without asking the network. Raises EgressRefused."""
    if len(url) > URL_CHARACTERS:
        raise EgressRefused(f"The address is longer than {URL_CHARACTERS} characters.")
    if any(c <= " " or c in "\\\x7f" or c.isspace() for c in url):
        raise EgressRefused("The address holds a space, a control character or a backslash.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise EgressRefused("The address cannot be read as a URL.") from error
    if parts.scheme not in USUAL_PORTS:
        raise EgressRefused("The address must begin with https://.")
    if "@" in parts.netloc:
        raise EgressRefused("The address holds a user name or password.")
    host, literal = _host(parts.hostname or "", bracketed="[" in parts.netloc)
    target = Target(
        scheme=parts.scheme,
        host=host,
        port=USUAL_PORTS[parts.scheme] if port is None else port,
        path=quote(parts.path or "/", safe=_SAFE)
        + (f"?{quote(parts.query, safe=_SAFE)}" if parts.query else ""),
        literal=literal,
    )
    _check_way(target)
    if literal is not None:
        check_address(target, literal)
    return target


def _host(name: str, *, bracketed: bool) -> tuple[str, Address | None]:
    """The host in the one form that everybody reads alike. Raises EgressRefused."""
    if "%" in name:
        raise EgressRefused("The host holds a percent sign.")
    if bracketed:
        try:
            return name, ipaddress.IPv6Address(name)
        except ValueError as error:
            raise EgressRefused("The address in brackets is no IPv6 address.") from error
    try:
        name = idna.encode(name, uts46=True).decode() if not name.isascii() else name.lower()
    except idna.IDNAError as error:
        raise EgressRefused("The host is no valid internationalised name.") from error
    name = name.removesuffix(".")
    labels = name.split(".")
    if not all(0 < len(label) < 64 and set(label) <= _NAME_CHARACTERS for label in labels):
        raise EgressRefused("The host is no valid name.")
    if labels[-1].isdigit() or labels[-1].startswith("0x"):
        # Programs differ in how they read 127.1, 0x7f.1 or 017700000001; this form all read alike.
        try:
            return name, ipaddress.IPv4Address(name)
        except ValueError as error:
            raise EgressRefused(
                "A host in numbers must be four decimal numbers without leading zeros."
            ) from error
    return name, None


def _check_way(target: Target) -> None:
    """Scheme and port, both at once: who is told of one alone comes back for the other."""
    opened = {entry.port for entry in allowances(settings.EGRESS_ALLOW)}
    faults = []
    if _is_closed_http(target):
        faults.append("Plain http is not allowed here.")
    if not target.usual and target.port not in opened:
        usual = USUAL_PORTS[target.scheme]
        faults.append(f"Port {target.port} is not allowed: {target.scheme} goes to port {usual}.")
    if faults:
        raise EgressRefused(" ".join(faults), remedy=_way_in(target, target.literal))


def is_never_called(address: Address) -> bool:
    """Link-local addresses, where clouds keep credentials; a mapped or tunnelled one counts too."""
    inner = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
    return address.is_link_local or (inner is not None and inner.is_link_local)


def _is_closed_http(target: Target) -> bool:
    return target.scheme == "http" and not settings.WEBHOOK_HTTP


def _way_in(target: Target, address: Address | None) -> str:
    """Every setting that opens this target, written out; nothing opens some."""
    if address is not None and is_never_called(address):
        return "Give an https address on the public internet: this one is never called."
    needed = ["LEMNOS_WEBHOOK_HTTP=1"] if _is_closed_http(target) else []
    if not target.usual or (address is not None and not is_public(address)):
        needed.append(f"LEMNOS_EGRESS_ALLOW={_entry(target, address)}")
    return (
        f"Have an operator set {' and '.join(needed)} (commas separate several networks) and"
        " restart, or give an https address on the public internet."
    )


def _entry(target: Target, address: Address | None) -> str:
    if address is None:
        known = {"localhost": f"127.0.0.1:{target.port},[::1]:{target.port}"}
        return known.get(target.host, f"<its address>:{target.port}")
    if target.usual:
        return str(address)
    return f"[{address}]:{target.port}" if address.version == 6 else f"{address}:{target.port}"


def check_address(target: Target, address: Address) -> None:
    """Raises EgressRefused unless this address may be reached at the target's port."""
    if target.usual and is_public(address):
        return
    if is_never_called(address):
        raise EgressRefused(
            f"{address} is of this machine's own link, where clouds answer with their secrets.",
            remedy=_way_in(target, address),
            address=str(address),
            port=target.port,
        )
    for entry in allowances(settings.EGRESS_ALLOW):
        if entry.covers(address, target.port, usual=target.usual):
            return
    where = f"{target.host} is at {address}, which" if target.literal is None else f"{address}"
    reason = "is no public address" if target.usual else f"may not be called at port {target.port}"
    raise EgressRefused(
        f"{where} {reason}.",
        remedy=_way_in(target, address),
        address=str(address),
        port=target.port,
    )
