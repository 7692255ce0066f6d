"""Who a request comes from, as far as counting goes."""

from ipaddress import IPv6Address, ip_address, ip_network

from flask import request

# What one customer of a provider has to choose addresses from (RFC 6177): each of them is the same client.
IPV6_PREFIX = 64


def client_network() -> str:
    """Return the network that counts as one client: an IPv4 address, or the /64 of an IPv6 one.

    It is the address of the connection; of what a proxy says only as much is believed as PROXY_HOPS allows.
    """
    return network_of(request.remote_addr or "")


def network_of(address: str) -> str:
    """Return the network of an address as text; what is no address (a Unix socket has none) is one client."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ip_network((parsed, IPV6_PREFIX), strict=False))
    return str(parsed)
