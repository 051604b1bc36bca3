"""IP addresses and prefixes as Go's net/netip reads them, with its complaints; the addresses are Python's own."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TypeAlias

from keelback.apimachinery.go_text import go_quoted

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_HEX_DIGITS = re.compile(r"[0-9A-Fa-f]*")


class AddressError(ValueError):
    """A text that is no address or prefix; the message is Go's."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """A network: the first `bits` of the address count. The address may have bits beyond them."""

    address: Address
    bits: int

    def __str__(self) -> str:
        return f"{self.address}/{self.bits}"

    @property
    def masked(self) -> Prefix:
        """The same network with all bits beyond the prefix zero."""
        return Prefix(type(self.address)(int(self.address) & ~self._host_mask), self.bits)

    def contains(self, address: Address) -> bool:
        """Whether an address of the same family lies in the network."""
        if address.version != self.address.version:
            return False
        return (int(address) ^ int(self.address)) & ~self._host_mask == 0

    @property
    def _host_mask(self) -> int:
        return (1 << (self.address.max_prefixlen - self.bits)) - 1


def parse(text: str) -> Address:
    """An IPv4 address, or an IPv6 address with or without a zone (`netip.ParseAddr`). Raises AddressError."""
    for character in text:
        match character:
            case ".":
                return _ipv4(text)
            case ":":
                return _ipv6(text)
            case "%":
                raise _error(text, "missing IPv6 address")
    raise _error(text, "unable to parse IP")


def parse_prefix(text: str) -> Prefix:
    """A network in CIDR notation (`netip.ParsePrefix`). Raises AddressError."""
    before, slash, after = text.rpartition("/")
    complaint = f"netip.ParsePrefix({go_quoted(text)}): "
    if not slash:
        raise AddressError(complaint + "no '/'")
    try:
        address = parse(before)
    except AddressError as error:
        raise AddressError(complaint + str(error)) from None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        raise AddressError(complaint + "IPv6 zones cannot be present in a prefix")
    if not after.isascii() or not after.isdigit() or (len(after) > 1 and after.startswith("0")):
        raise AddressError(complaint + f"bad bits after slash: {go_quoted(after)}")
    # No network has a length of four digits; longer ones need not become numbers.
    if len(after) > 3 or int(after) > address.max_prefixlen:
        raise AddressError(complaint + "prefix length out of range")
    return Prefix(address, int(after))


def is_mapped(address: Address) -> bool:
    """Whether it is an IPv4 address written as an IPv6 one, `::ffff:1.2.3.4`."""
    return isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None


def _error(text: str, problem: str, rest: str = "") -> AddressError:
    return AddressError(f"ParseAddr({go_quoted(text)}): {problem}" + (f" (at {go_quoted(rest)})" if rest else ""))


def _ipv4(text: str) -> ipaddress.IPv4Address:
    fields: list[int] = []
    value = digits = 0
    for position, character in enumerate(text):
        if "0" <= character <= "9":
            if digits == 1 and value == 0:
                raise _error(text, "IPv4 field has octet with leading zero")
            value = value * 10 + ord(character) - ord("0")
            digits += 1
            if value > 255:
                raise _error(text, "IPv4 field has value >255")
        elif character == ".":
            if position in (0, len(text) - 1) or text[position - 1] == ".":
                raise _error(text, "IPv4 field must have at least one digit", text[position:])
            if len(fields) == 3:
                raise _error(text, "IPv4 address too long")
            fields.append(value)
            value = digits = 0
        else:
            raise _error(text, "unexpected character", text[position:])
    if len(fields) < 3:
        raise _error(text, "IPv4 address too short")
    return ipaddress.IPv4Address(bytes((*fields, value)))


def _ipv6(text: str) -> ipaddress.IPv6Address:
    before, percent, zone = text.partition("%")
    if percent and not zone:
        raise _error(text, "zone must be a non-empty string")
    raw, ellipsis = _ipv6_groups(text, before)
    if len(raw) < 16:
        if ellipsis is None:
            raise _error(text, "address string too short")
        raw = raw[:ellipsis] + bytes(16 - len(raw)) + raw[ellipsis:]
    elif ellipsis is not None:
        raise _error(text, "the :: must expand to at least one field of zeros")
    address = ipaddress.IPv6Address(raw)
    # Python knows fewer zones than Go does: which one it is matters to nobody who may read it.
    return ipaddress.IPv6Address(f"{address}%{zone.replace('%', '_').replace('/', '_')}") if percent else address


def _ipv6_groups(text: str, rest: str) -> tuple[bytes, int | None]:
    """The bytes that are written, and where among them `::` stands."""
    raw, ellipsis = b"", None
    if rest.startswith("::"):
        ellipsis, rest = 0, rest[2:]
        if not rest:
            return raw, ellipsis
    while len(raw) < 16:
        digits = _leading_digits(text, rest)
        if rest[len(digits) : len(digits) + 1] == ".":
            return raw + _embedded_ipv4(text, rest, len(raw), ellipsis), ellipsis
        raw += int(digits, 16).to_bytes(2, "big")
        rest = rest[len(digits) :]
        if not rest:
            break
        if rest[0] != ":":
            raise _error(text, "unexpected character, want colon", rest)
        if len(rest) == 1:
            raise _error(text, "colon must be followed by more characters", rest)
        rest = rest[1:]
        if rest[0] == ":":
            if ellipsis is not None:
                raise _error(text, "multiple :: in address", rest)
            ellipsis, rest = len(raw), rest[1:]
            if not rest:
                break
    if rest:
        raise _error(text, "trailing garbage after address", rest)
    return raw, ellipsis


def _leading_digits(text: str, rest: str) -> str:
    match = _HEX_DIGITS.match(rest)
    digits = match[0] if match else ""
    if not digits:
        raise _error(text, "each colon-separated field must have at least one digit", rest)
    # More are refused even if the first are zero (Go 1.22 and later).
    if len(digits) > 4:
        raise _error(text, "each group must have 4 or less digits", rest)
    return digits


def _embedded_ipv4(text: str, rest: str, length: int, ellipsis: int | None) -> bytes:
    if ellipsis is None and length != 12:
        raise _error(text, "embedded IPv4 address must replace the final 2 fields of the address", rest)
    if length + 4 > 16:
        raise _error(text, "too many hex fields to fit an embedded IPv4 at the end of the address", rest)
    try:
        return _ipv4(rest).packed
    except AddressError as error:
        raise _error(text, str(error), rest) from None
