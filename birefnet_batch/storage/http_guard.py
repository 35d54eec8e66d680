"""Which hosts an input may come from, checked at each connection: after name resolution and on every redirect."""

from __future__ import annotations

import ipaddress
import socket

import httpx

from birefnet_batch.errors import InputError
from birefnet_batch.settings import StorageSettings
from birefnet_batch.uri_schemes import scheme_of
from birefnet_batch.url_redaction import redact

# Addresses that carry an IPv4 address in their last 32 bits (RFC 6052).
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# All that is given out of IPv6 (RFC 4291): what else there is of it is local, reserved, or another spelling of IPv4.
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
# Of protocols that end at the next router (RFC 6890), of which two are the Internet's; and relays of 6to4 (RFC 7526).
_OF_PROTOCOLS = ipaddress.ip_network("192.0.0.0/24")
_ANYCAST = frozenset(map(ipaddress.ip_address, ("192.0.0.9", "192.0.0.10")))
_RELAYS = ipaddress.ip_network("192.88.99.0/24")


def check_scheme(uri: str, settings: StorageSettings) -> None:
    """Refuse what an operator has closed.

    Raises:
        InputError: the scheme is not among `storage.allow_schemes`.
    """
    scheme = scheme_of(uri)
    if scheme not in settings.allow_schemes:
        raise InputError(
            f"{redact(uri)} may not be read: {scheme}:// is not among storage.allow_schemes "
            f"({', '.join(settings.allow_schemes) or 'none'}) of this installation"
        )


class GuardedTransport(httpx.BaseTransport):
    """Resolves each host once, refuses private addresses, and connects to the address that was checked.

    A name that is resolved twice may have two answers. The request keeps its Host header, and TLS the host's name.
    Connections are not kept: a pool of addresses would not tell hosts apart.

    Args:
        inner: what sends the requests.
    """

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self._inner = inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; redirects come here one by one.

        Raises:
            InputError: the host has a private address.
        """
        # Not its letters: the system's way to encode them may give another owner's name (strasse.de for straße.de).
        host = request.url.raw_host.decode("ascii")
        failure: Exception | None = None
        for address in resolve_public(host, request.url.port or {"https": 443}.get(request.url.scheme, 80)):
            to_address = httpx.Request(
                request.method,
                request.url.copy_with(host=address),
                headers=request.headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": host},
            )
            try:
                return self._inner.handle_request(to_address)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error
        raise failure or httpx.ConnectError(f"{host} has no address")

    def close(self) -> None:
        """Close the inner transport."""
        self._inner.close()


def resolve_public(host: str, port: int) -> list[str]:
    """A host's addresses.

    Raises:
        InputError: one of them is private.
        httpx.ConnectError: there is no such host.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpx.ConnectError(f"the host {host} cannot be found: {error}") from None
    addresses = list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))
    for address in addresses:
        if not is_public(address):
            raise InputError(
                f"{host} may not be asked: it has the private address {address}, and this installation has "
                "storage.allow_private_hosts=false"
            )
    return addresses


def is_public(address: str) -> bool:
    """Whether an address is one of the Internet's, and not of a machine or network that only we can reach."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is not None:
            return is_public(str(inner))
        if ip not in _GLOBAL_UNICAST:
            return False
    elif ip in _RELAYS or (ip in _OF_PROTOCOLS and ip not in _ANYCAST):
        return False
    return ip.is_global and not ip.is_multicast
