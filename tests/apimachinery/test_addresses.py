"""Addresses and subnets of fields of old and new, in the words of apimachinery's util/validation."""

from __future__ import annotations

import pytest

from keelback.apimachinery import addresses

NO_ADDRESS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
NO_SUBNET = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
ZEROS = "must not have leading 0s"
MAPPED = "must not be an IPv4-mapped IPv6 address"
ZEROS_OF_SUBNET = "must not have leading 0s in IP or prefix length"
BEYOND = "must not have bits set beyond the prefix length"
FUTURE = "will be considered invalid in a future Kubernetes release"


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("1.2.3.4", ""),
        ("2001:db8::1", ""),
        ("2001:DB8:0::1", ""),
        ("", NO_ADDRESS),
        ("1.2.3", NO_ADDRESS),
        ("1.2.3.400", NO_ADDRESS),
        ("fe80::1%eth0", NO_ADDRESS),
        ("01.2.3.4", ZEROS),
        ("1.2.3.0004", ZEROS),
        ("::ffff:1.2.3.4", MAPPED),
        ("::ffff:1.2.3.04", ZEROS),
    ],
)
def test_an_address_is_refused_where_it_may_be_misread(value: str, complaint: str) -> None:
    assert addresses.ip_address(value) == ((complaint,) if complaint else ())
    assert addresses.ip_address(value, kept=(value,)) == (), "what was there already may stay"


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("10.0.0.0/8", ""),
        ("2001:db8::/64", ""),
        ("10.0.0.0", NO_SUBNET),
        ("10.0.0.0/33", NO_SUBNET),
        ("2001:db8::/129", NO_SUBNET),
        ("10.0.0.0/+8", NO_SUBNET),
        ("010.0.0.0/8", ZEROS_OF_SUBNET),
        ("10.0.0.0/08", ZEROS_OF_SUBNET),
        ("::ffff:10.0.0.0/104", "must not have an IPv4-mapped IPv6 address"),
        ("10.0.0.1/8", BEYOND),
    ],
)
def test_a_subnet_is_refused_where_it_may_be_misread(value: str, complaint: str) -> None:
    assert addresses.cidr(value) == ((complaint,) if complaint else ())
    assert addresses.cidr(value, kept=(value,)) == ()


def test_newer_fields_know_one_way_to_write_an_address() -> None:
    assert addresses.canonical_ip_address("2001:db8::1") == ()
    assert addresses.canonical_ip_address("2001:DB8::1") == ('must be in canonical form ("2001:db8::1")',)
    assert addresses.canonical_cidr("2001:db8:0::/64") == ('must be in canonical form ("2001:db8::/64")',)
    assert addresses.canonical_cidr("10.0.0.1/8") == (BEYOND,)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("1.2.3.4", []),
        ("2001:db8::1", []),
        ("no address", []),
        ("01.2.3.4", [f'p: non-standard IP address "01.2.3.4" {FUTURE}: use "1.2.3.4"']),
        ("::ffff:1.2.3.4", [f'p: non-standard IP address "::ffff:1.2.3.4" {FUTURE}: use "1.2.3.4"']),
        ("2001:DB8::1", ['p: IPv6 address "2001:DB8::1" should be in RFC 5952 canonical format ("2001:db8::1")']),
    ],
)
def test_an_odd_address_is_warned_about(value: str, told: list[str]) -> None:
    assert list(addresses.warnings_for_ip(value, "p")) == told


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("10.0.0.0/8", []),
        (
            "10.0.0.1/8",
            ['p: CIDR value "10.0.0.1/8" is ambiguous in this context (should be "10.0.0.0/8" or "10.0.0.1/32"?)'],
        ),
        ("10.0.0.0/08", [f'p: non-standard CIDR value "10.0.0.0/08" {FUTURE}: use "10.0.0.0/8"']),
        (
            "2001:DB8::/64",
            ['p: IPv6 CIDR value "2001:DB8::/64" should be in RFC 5952 canonical format ("2001:db8::/64")'],
        ),
    ],
)
def test_an_odd_subnet_is_warned_about(value: str, told: list[str]) -> None:
    assert list(addresses.warnings_for_cidr(value, "p")) == told
