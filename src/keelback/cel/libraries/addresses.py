"""Kubernetes' `ip` and `cidr` libraries: IP addresses and networks, without zones and IPv4-mapped addresses."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

from keelback.apimachinery import go_addresses
from keelback.apimachinery.go_addresses import AddressError, Prefix
from keelback.apimachinery.go_text import go_quoted
from keelback.cel.declarations import CallEstimate, Library, Operand, function, member, overload
from keelback.cel.errors import EvaluationError
from keelback.cel.estimates import ONE, Estimate
from keelback.cel.libraries import costs
from keelback.cel.types import BOOL, INT, STRING, Type, opaque
from keelback.cel.values import OpaqueValue, Value

IP = opaque("net.IP")
CIDR = opaque("net.CIDR")


@final
@dataclass(frozen=True, slots=True)
class IpValue(OpaqueValue):
    """One address."""

    cel_type: ClassVar[Type] = IP
    address: go_addresses.Address

    @property
    def cost_size(self) -> int:
        """Its bytes."""
        return self.address.max_prefixlen // 8


@final
@dataclass(frozen=True, slots=True)
class CidrValue(OpaqueValue):
    """One network; equal only if the bits beyond the prefix are too."""

    cel_type: ClassVar[Type] = CIDR
    prefix: Prefix

    @property
    def cost_size(self) -> int:
        """The bytes its prefix has bits in."""
        return math.ceil(self.prefix.bits / 8)


def _parsed_address(text: str) -> go_addresses.Address:
    try:
        address = go_addresses.parse(text)
    except AddressError as error:
        complaint = f"IP Address {go_quoted(text)} parse error during conversion from string: {error}"
        raise AddressError(complaint) from None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        raise AddressError(f"IP address {go_quoted(text)} with zone value is not allowed")
    if go_addresses.is_mapped(address):
        raise AddressError(f"IPv4-mapped IPv6 address {go_quoted(text)} is not allowed")
    return address


def _parsed_prefix(text: str) -> Prefix:
    complaint = "network address parse error during conversion from string: "
    try:
        prefix = go_addresses.parse_prefix(text)
    except AddressError as error:
        raise AddressError(complaint + str(error)) from None
    if go_addresses.is_mapped(prefix.address):
        raise AddressError(f"IPv4-mapped IPv6 address {go_quoted(text)} is not allowed")
    return prefix


def _ip(text: str) -> IpValue:
    try:
        return IpValue(_parsed_address(text))
    except AddressError as error:
        raise EvaluationError(str(error)) from None


def _cidr(text: str) -> CidrValue:
    try:
        return CidrValue(_parsed_prefix(text))
    except AddressError as error:
        # Twice, as upstream says it.
        raise EvaluationError(f"network address parse error during conversion from string: {error}") from None


def _is_ip(text: str) -> bool:
    try:
        _parsed_address(text)
    except AddressError:
        return False
    return True


def _is_cidr(text: str) -> bool:
    try:
        _parsed_prefix(text)
    except AddressError:
        return False
    return True


def _is_canonical(text: str) -> bool:
    return str(_ip(text).address) == text


def _ip_text(value: IpValue) -> str:
    return str(value.address)


def _cidr_text(value: CidrValue) -> str:
    return str(value.prefix)


def _family(value: IpValue) -> int:
    return value.address.version


def _is_unspecified(value: IpValue) -> bool:
    return value.address.is_unspecified


def _is_loopback(value: IpValue) -> bool:
    return value.address.is_loopback


def _is_link_local_multicast(value: IpValue) -> bool:
    packed = value.address.packed
    if len(packed) == 4:
        return packed.startswith(b"\xe0\x00\x00")
    return packed[0] == 0xFF and packed[1] & 0x0F == 0x02


def _is_link_local_unicast(value: IpValue) -> bool:
    return value.address.is_link_local


def _is_global_unicast(value: IpValue) -> bool:
    # Unlike Python's is_global, private and reserved addresses count.
    address = value.address
    if address.packed == b"\xff\xff\xff\xff":
        return False
    return not (address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local)


def _contains_ip(cidr: CidrValue, ip: IpValue) -> bool:
    return cidr.prefix.contains(ip.address)


def _contains_ip_text(cidr: CidrValue, text: str) -> bool:
    return _contains_ip(cidr, _ip(text))


def _contains_cidr(cidr: CidrValue, other: CidrValue) -> bool:
    outer, inner = cidr.prefix, other.prefix
    return outer.bits <= inner.bits and outer.contains(inner.address)


def _contains_cidr_text(cidr: CidrValue, text: str) -> bool:
    return _contains_cidr(cidr, _cidr(text))


def _cidr_ip(value: CidrValue) -> IpValue:
    return IpValue(value.prefix.address)


def _prefix_length(value: CidrValue) -> int:
    return value.prefix.bits


def _masked(value: CidrValue) -> CidrValue:
    return CidrValue(value.prefix.masked)


_ADDRESS_BYTES = Estimate(4, 16)


def _contains(*, network: bool, text: bool) -> costs.Hooks:
    """Both addresses are compared byte by byte; a network is masked first, and a text read."""

    def runtime_cost(arguments: Sequence[Value], _result: Value) -> int:
        size = costs.size(arguments[0])
        cost = costs.traversal(2 * size)
        if network:
            cost += costs.traversal(size) + 1
        return cost + (costs.traversal(costs.size(arguments[1])) if text else 0)

    def static_cost(operands: Sequence[Operand]) -> CallEstimate:
        cost = _ADDRESS_BYTES.plus(_ADDRESS_BYTES).scaled(costs.STRING_TRAVERSAL)
        if network:
            cost = cost.plus(_ADDRESS_BYTES.scaled(costs.STRING_TRAVERSAL)).plus(ONE)
        if text:
            cost = cost.plus(operands[1].size.scaled(costs.STRING_TRAVERSAL))
        return CallEstimate(cost)

    return costs.Hooks(runtime_cost=runtime_cost, static_cost=static_cost)


IP_LIBRARY = Library(
    "kubernetes.net.ip",
    functions=(
        function("ip", overload("string_to_ip", (STRING,), IP, _ip, **costs.TRAVERSAL)),
        function("isIP", overload("is_ip", (STRING,), BOOL, _is_ip, **costs.TRAVERSAL)),
        function(
            "ip.isCanonical",
            overload("ip_is_canonical", (STRING,), BOOL, _is_canonical, **costs.TWO_TRAVERSALS),
        ),
        function("string", overload("ip_to_string", (IP,), STRING, _ip_text)),
        function("family", member("ip_family", (IP,), INT, _family, **costs.NOMINAL)),
        function("isUnspecified", member("ip_is_unspecified", (IP,), BOOL, _is_unspecified, **costs.NOMINAL)),
        function("isLoopback", member("ip_is_loopback", (IP,), BOOL, _is_loopback, **costs.NOMINAL)),
        function(
            "isLinkLocalMulticast",
            member("ip_is_link_local_multicast", (IP,), BOOL, _is_link_local_multicast, **costs.NOMINAL),
        ),
        function(
            "isLinkLocalUnicast",
            member("ip_is_link_local_unicast", (IP,), BOOL, _is_link_local_unicast, **costs.NOMINAL),
        ),
        function("isGlobalUnicast", member("ip_is_global_unicast", (IP,), BOOL, _is_global_unicast, **costs.NOMINAL)),
    ),
    types=(IP,),
)

CIDR_LIBRARY = Library(
    "net.cidr",
    functions=(
        function("cidr", overload("string_to_cidr", (STRING,), CIDR, _cidr, **costs.TRAVERSAL)),
        function("isCIDR", overload("is_cidr", (STRING,), BOOL, _is_cidr, **costs.TRAVERSAL)),
        function("string", overload("cidr_to_string", (CIDR,), STRING, _cidr_text)),
        function(
            "containsIP",
            member(
                "cidr_contains_ip_string",
                (CIDR, STRING),
                BOOL,
                _contains_ip_text,
                **_contains(network=False, text=True),
            ),
            member("cidr_contains_ip_ip", (CIDR, IP), BOOL, _contains_ip, **_contains(network=False, text=False)),
        ),
        function(
            "containsCIDR",
            member(
                "cidr_contains_cidr_string",
                (CIDR, STRING),
                BOOL,
                _contains_cidr_text,
                **_contains(network=True, text=True),
            ),
            member("cidr_contains_cidr", (CIDR, CIDR), BOOL, _contains_cidr, **_contains(network=True, text=False)),
        ),
        function("ip", member("cidr_ip", (CIDR,), IP, _cidr_ip, **costs.NOMINAL)),
        function("prefixLength", member("cidr_prefix_length", (CIDR,), INT, _prefix_length, **costs.NOMINAL)),
        function("masked", member("cidr_masked", (CIDR,), CIDR, _masked, **costs.NOMINAL)),
    ),
    types=(CIDR,),
)
