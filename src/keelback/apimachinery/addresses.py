"""Addresses and subnets as fields of old hold them: read leniently, refused where they may be misread, warned about
where they are not written as they would be printed (KEP-4858).

Each function returns complaints or warnings, word for word as Kubernetes gives them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterator
from typing import Final

from keelback.apimachinery import go_addresses
from keelback.apimachinery.go_addresses import Address
from keelback.apimachinery.go_text import go_quoted
from keelback.apimachinery.names import Complaints

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NO_ADDRESS: Final = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_NO_SUBNET: Final = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
_dotted: Final = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+$").search


def parsed(value: str) -> Address | None:
    """The address as it has always been read, leading zeros and all; None if it is none (netutils.ParseIPSloppy)."""
    found = _dotted(value)
    if found is not None:
        value = value[: found.start()] + ".".join(one.lstrip("0") or "0" for one in found[0].split("."))
    if "%" in value:
        return None
    try:
        address = go_addresses.parse(value)
    except go_addresses.AddressError:
        return None
    # Go keeps an IPv4 address in 16 bytes and does not know how it was written.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped


def family(value: str) -> int:
    """4 or 6; 0 for what is no address."""
    address = parsed(value)
    return 0 if address is None else address.version


def ip_address(value: str, kept: Collection[str] = ()) -> Complaints:
    """Complaints about an address of a field of old. Values of the old object may be `kept`, whatever they are."""
    if value in kept:
        return ()
    if parsed(value) is None:
        return (_NO_ADDRESS,)
    try:
        address = go_addresses.parse(value)
    except go_addresses.AddressError:
        return ("must not have leading 0s",)
    return ("must not be an IPv4-mapped IPv6 address",) if go_addresses.is_mapped(address) else ()


def canonical_ip_address(value: str) -> Complaints:
    """Complaints about an address of a newer field: there is one way to write it."""
    return ip_address(value) or _canonical(value, str(parsed(value)))


def cidr(value: str, kept: Collection[str] = ()) -> Complaints:
    """Complaints about a subnet of a field of old. Values of the old object may be `kept`, whatever they are."""
    if value in kept:
        return ()
    if subnet(value) is None:
        return (_NO_SUBNET,)
    try:
        prefix = go_addresses.parse_prefix(value)
    except go_addresses.AddressError:
        return ("must not have leading 0s in IP or prefix length",)
    if go_addresses.is_mapped(prefix.address):
        return ("must not have an IPv4-mapped IPv6 address",)
    if prefix.masked.address != prefix.address:
        return ("must not have bits set beyond the prefix length",)
    return ()


def canonical_cidr(value: str) -> Complaints:
    """Complaints about a subnet of a newer field: there is one way to write it."""
    return cidr(value) or _canonical(value, str(subnet(value)))


def subnet(value: str) -> Network | None:
    """The subnet as it has always been read; None if it is none (netutils.ParseCIDRSloppy)."""
    address, slash, bits = value.partition("/")
    found = parsed(address)
    if found is None or not slash or not bits.isascii() or not bits.isdigit():
        return None
    width = 128 if ":" in address else 32
    length = int(bits[-4:]) if len(bits.lstrip("0")) <= 4 else width + 1
    if length > width:
        return None
    if width == 128 and found.version == 4:
        if length < 96:
            return None
        length -= 96
    return ipaddress.ip_network((found, length), strict=False)


def warnings_for_ip(value: str, path: str) -> Iterator[str]:
    """What there is to say of an address that is let through."""
    address = parsed(value)
    if address is None:
        return
    if ip_address(value):
        future = "will be considered invalid in a future Kubernetes release"
        shown = f"{go_quoted(value)} {future}: use {go_quoted(str(address))}"
        yield f"{path}: non-standard IP address {shown}"
    elif str(address) != value:
        shown = go_quoted(str(address))
        yield f"{path}: IPv6 address {go_quoted(value)} should be in RFC 5952 canonical format ({shown})"


def warnings_for_cidr(value: str, path: str) -> Iterator[str]:
    """What there is to say of a subnet that is let through."""
    network = subnet(value)
    address = parsed(value.partition("/")[0])
    if network is None or address is None:
        return
    shown = go_quoted(str(network))
    is_ambiguous = network.network_address != address
    if is_ambiguous:
        single = go_quoted(f"{address}/{address.max_prefixlen}")
        yield f"{path}: CIDR value {go_quoted(value)} is ambiguous in this context (should be {shown} or {single}?)"
    try:
        is_standard = not go_addresses.is_mapped(go_addresses.parse_prefix(value).address)
    except go_addresses.AddressError:
        is_standard = False
    if not is_standard:
        future = "will be considered invalid in a future Kubernetes release"
        yield f"{path}: non-standard CIDR value {go_quoted(value)} {future}: use {shown}"
    elif not is_ambiguous and network.version == 6 and str(network) != value:
        yield f"{path}: IPv6 CIDR value {go_quoted(value)} should be in RFC 5952 canonical format ({shown})"


def _canonical(value: str, wanted: str) -> Complaints:
    return () if value == wanted else (f"must be in canonical form ({go_quoted(wanted)})",)
