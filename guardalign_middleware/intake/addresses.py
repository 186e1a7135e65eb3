"""Which IP addresses are public and may be contacted for a URL from an untrusted source."""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network

# From IANA's special-purpose registries. `ipaddress.is_global` alone would not do: its results
# differ between Python's patch releases.
_CLOSED_V4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network; 0.0.0.0 reaches this host
            "10.0.0.0/8",
            "100.64.0.0/10",  # carrier-grade NAT, also some clouds' metadata
            "127.0.0.0/8",
            "168.63.129.16/32",  # Azure's own services, in every virtual machine
            "169.254.0.0/16",  # link-local, most clouds' metadata
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ),
    )
)
# Everything else is closed: loopback, link-local, unique local, multicast, and the forms that carry
# an IPv4 address, ::a.b.c.d, ::ffff:a.b.c.d, 64:ff9b::a.b.c.d and 64:ff9b:1::a.b.c.d.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_CLOSED_V6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments; Teredo carries an IPv4 address
            "2001:db8::/32",
            "2002::/16",  # 6to4 carries an IPv4 address
            "2620:4f:8000::/48",
            "3fff::/20",
            "5f00::/16",
        ),
    )
)


def is_public_address(address: str) -> bool:
    """Whether an address in standard spelling belongs to the public internet.

    False for other spellings (`2130706433`, `0177.0.0.1`, `127.1`), for zone ids (`fe80::1%eth0`),
    and for IPv6 forms that carry an IPv4 address, even a public one, because the local network
    decides how those are routed.
    """
    if ":" in address:
        try:
            six = IPv6Address(address)
        except AddressValueError:
            return False
        return (
            six.scope_id is None
            and six.is_global
            and six in _GLOBAL_UNICAST
            and not any(six in network for network in _CLOSED_V6)
        )
    try:
        four = IPv4Address(address)
    except AddressValueError:
        return False
    return four.is_global and not any(four in network for network in _CLOSED_V4)
