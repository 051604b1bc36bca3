"""Which addresses an endpoint may have: those that lead to one machine from everywhere."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator

from keelback.apimachinery import addresses
from keelback.apimachinery.errors import FieldError, invalid


def problems(address: str, path: str, kept: Collection[str] = ()) -> Iterator[FieldError]:
    """What is wrong with an address, and if nothing is, with it as that of an endpoint."""
    complaints = addresses.ip_address(address, kept)
    for complaint in complaints:
        yield invalid(path, address, complaint)
    if not complaints:
        yield from special(address, path)


def special(address: str, path: str) -> Iterator[FieldError]:
    """The complaints about an address at which nobody else can be reached (upstream's ValidateEndpointIP)."""
    parsed = addresses.parsed(address)
    if parsed is None:
        yield invalid(path, address, "must be a valid IP address")
        return
    if parsed.is_unspecified:
        yield invalid(path, address, f"may not be unspecified ({address})")
    if parsed.is_loopback:
        yield invalid(path, address, "may not be in the loopback range (127.0.0.0/8, ::1/128)")
    if parsed.is_link_local:
        yield invalid(path, address, "may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    if parsed in _LINK_LOCAL_MULTICAST[parsed.version]:
        yield invalid(path, address, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")


_LINK_LOCAL_MULTICAST = {4: ipaddress.ip_network("224.0.0.0/24"), 6: ipaddress.ip_network("ff02::/16")}
