"""Addresses and prefixes are read, and refused, as Go's net/netip does."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelback.apimachinery import go_addresses
from keelback.apimachinery.go_addresses import AddressError


@given(st.ip_addresses())
def test_what_python_writes_go_reads(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert go_addresses.parse(str(address)) == address
    assert go_addresses.parse(address.exploded) == address


@given(st.ip_addresses(v=4), st.integers(0, 32))
def test_a_network_contains_its_own_addresses(address: ipaddress.IPv4Address, bits: int) -> None:
    prefix = go_addresses.parse_prefix(f"{address}/{bits}")
    network = ipaddress.ip_network(f"{address}/{bits}", strict=False)
    assert str(prefix.masked) == str(network)
    assert prefix.contains(address)
    assert not prefix.contains(ipaddress.ip_address("::1"))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "unable to parse IP"),
        ("127.0.0.256", "IPv4 field has value >255"),
        ("127.0.0.01", "IPv4 field has octet with leading zero"),
        ("1.2.3", "IPv4 address too short"),
        ("1.2.3.4.5", "IPv4 address too long"),
        ("1..3.4", 'IPv4 field must have at least one digit (at ".3.4")'),
        (":::1", 'each colon-separated field must have at least one digit (at ":1")'),
        ("1::2::3", 'multiple :: in address (at ":3")'),
        ("12345::", 'each group must have 4 or less digits (at "12345::")'),
        ("1:2:3:4:5:6:7", "address string too short"),
        ("fe80::1%", "zone must be a non-empty string"),
        ("%eth0", "missing IPv6 address"),
        ("1:2:3:4:5:6:7:8:9", 'trailing garbage after address (at "9")'),
    ],
)
def test_what_is_no_address_is_refused_in_the_words_of_go(text: str, complaint: str) -> None:
    with pytest.raises(AddressError) as refusal:
        go_addresses.parse(text)
    assert str(refusal.value) == f'ParseAddr("{text}"): {complaint}'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("10.0.0.0", "no '/'"),
        ("10.0.0.0/33", "prefix length out of range"),
        ("::/129", "prefix length out of range"),
        ("1.2.3.4/-1", 'bad bits after slash: "-1"'),
        ("1.2.3.4/024", 'bad bits after slash: "024"'),
        ("fe80::1%a/64", "IPv6 zones cannot be present in a prefix"),
        ("x/8", 'ParseAddr("x"): unable to parse IP'),
    ],
)
def test_what_is_no_prefix_is_refused_in_the_words_of_go(text: str, complaint: str) -> None:
    with pytest.raises(AddressError) as refusal:
        go_addresses.parse_prefix(text)
    assert str(refusal.value) == f'netip.ParsePrefix("{text}"): {complaint}'
