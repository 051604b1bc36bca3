"""Which addresses an endpoint may have: those that lead to one machine from everywhere."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, invalid


def problems(address: str, path: str) -> Iterator[FieldError]:
    """What is wrong with the address of an endpoint (upstream's ValidateEndpointIP)."""
    complaints = names.ip_address(address)
    if complaints:
        for complaint in complaints:
            yield invalid(path, address, complaint)
        return
    parsed = ipaddress.ip_address(address)
    if parsed.is_unspecified:
        yield invalid(path, address, f"may not be unspecified ({address})")
    if parsed.is_loopback:
        yield invalid(path, address, "may not be in the loopback range (127.0.0.0/8, ::1/128)")
    if parsed.is_link_local:
        yield invalid(path, address, "may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    if parsed in _LINK_LOCAL_MULTICAST[parsed.version]:
        yield invalid(path, address, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")


_LINK_LOCAL_MULTICAST = {4: ipaddress.ip_network("224.0.0.0/24"), 6: ipaddress.ip_network("ff02::/16")}
