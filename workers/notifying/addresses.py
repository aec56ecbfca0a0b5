"""Which URLs a webhook may have, and which addresses may be called for it.

A plan names a URL, and whoever writes plans is not to reach through a worker what only workers
reach: the metadata service of a cloud, the ledger, a router. So the name is looked up here, every
address that it has must be public, and exactly the one that was looked at is called.

Hosts in REINSTATE_HOOK_HOSTS are excepted: whoever runs the workers vouches for them.
"""

import ipaddress
import re
import socket
from collections.abc import Callable, Collection, Sequence

from msgspec import Struct

Resolve = Callable[[str, int], Sequence[str]]
"""Every address that a name has, as numbers."""
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<target>[/?][!$&'()*+,./0-9:;=?@A-Z_a-z~%-]*)?"
)
"""Not more than this: what two readers of URLs could read differently is none."""
_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
_LONGEST = 2_048
_PORTS = range(1, 65_536)

# What `is_global` lets through, or did in some release of Python, although it leads inside, into
# another address, or to many at once.
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",
        "100.64.0.0/10",  # shared by a provider's customers
        "192.0.0.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "198.18.0.0/15",
        "224.0.0.0/3",  # multicast, reserved, broadcast
        "::/96",  # an IPv4 address in the old way
        "::ffff:0:0/96",  # and in the usual one
        "64:ff9b::/96",  # NAT64: reaches any IPv4 address, the inner ones too
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",  # Teredo and others
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/9",  # link-local and site-local
        "ff00::/8",
    )
)


class Forbidden(Exception):
    """The URL is none, or leads where nobody is called; `bad`: it is none."""

    def __init__(self, *, bad: bool) -> None:
        super().__init__("no address to call" if bad else "not a public address")
        self.bad = bad


class Destination(Struct, frozen=True, kw_only=True):
    """A URL that was looked at, and the one address that is called for it."""

    scheme: str
    host: str
    """As certificates and `Host` name it; IPv6 without brackets."""
    port: int
    target: str
    address: str

    @property
    def pinned(self) -> str:
        """The URL with the address instead of the name."""
        shown = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.scheme}://{shown}:{self.port}{self.target}"

    @property
    def host_header(self) -> str:
        """What the server is asked for."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        usual = {"https": 443, "http": 80}[self.scheme]
        return shown if self.port == usual else f"{shown}:{self.port}"


def looked_up(host: str, port: int) -> list[str]:
    """What the system says; raises `OSError` where it says nothing."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def destination(
    url: str, *, trusted: Collection[str] = (), resolve: Resolve = looked_up
) -> Destination:
    """Where to call. Raises `Forbidden`, and `OSError` where the name has no address.

    `trusted`: hosts, or host:port, that may be inside and without TLS.
    """
    read = _URL.fullmatch(url) if len(url) <= _LONGEST else None
    if read is None:
        raise Forbidden(bad=True)
    scheme, host = read["scheme"], read["host"].lower().removeprefix("[").removesuffix("]")
    port = int(read["port"] or {"https": 443, "http": 80}[scheme])
    literal = _literal(host, bracketed=read["host"].startswith("["))
    if port not in _PORTS or (literal is None and not _is_name(host)):
        raise Forbidden(bad=True)
    shown = read["host"].lower()
    vouched = shown in trusted or f"{shown}:{port}" in trusted
    if scheme == "http" and not vouched:
        raise Forbidden(bad=True)
    addresses = [str(literal)] if literal is not None else list(resolve(host, port))
    if not addresses:
        raise OSError("the name has no address")
    if not vouched and not all(is_public(address) for address in addresses):
        raise Forbidden(bad=False)
    target = read["target"] or "/"
    return Destination(
        scheme=scheme,
        host=host,
        port=port,
        target=target if target.startswith("/") else f"/{target}",
        address=addresses[0],
    )


def is_public(address: str) -> bool:
    """Whether it is one single machine of the public internet, by its own address."""
    try:
        parsed: Address = ipaddress.ip_address(address)
    except ValueError:  # not the usual spelling of one, or with a zone
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.scope_id is not None:
        return False
    inside = any(parsed.version == one.version and parsed in one for one in _NOT_PUBLIC)
    return parsed.is_global and not parsed.is_multicast and not inside


def _literal(host: str, *, bracketed: bool) -> Address | None:
    """The address that a host is by itself, in its one usual spelling."""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return None
    return found if bracketed == (found.version == 6) else None  # noqa: PLR2004


def _is_name(host: str) -> bool:
    """Whether it can only be a name: no last label that some readers take for a number."""
    labels = host.removesuffix(".").split(".")
    return (
        len(host) < 254  # noqa: PLR2004  RFC 1035
        and all(_LABEL.fullmatch(label) for label in labels)
        and not labels[-1][0].isdigit()
    )
