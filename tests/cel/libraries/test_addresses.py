"""IP addresses and networks in expressions."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keelback.cel.estimates import Estimate
from keelback.cel.values import Value

Evaluate = Callable[..., Value]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("isIP('127.0.0.1')", True),
        ("isIP('::1')", True),
        ("isIP('127.0.0.256')", False),
        ("isIP('::ffff:1.2.3.4')", False),
        ("isIP('fe80::1%eth0')", False),
        ("isIP('10.0.0.01')", False),
        ("string(ip('2001:DB8::0:1'))", "2001:db8::1"),
        ("ip('127.0.0.1').family()", 4),
        ("ip('::1').family()", 6),
        ("ip('0.0.0.0').isUnspecified()", True),
        ("ip('::').isUnspecified()", True),
        ("ip('127.3.2.1').isLoopback()", True),
        ("ip('2001:db8::abcd').isLoopback()", False),
        ("ip('224.0.0.1').isLinkLocalMulticast()", True),
        ("ip('224.0.1.1').isLinkLocalMulticast()", False),
        ("ip('ff02::1').isLinkLocalMulticast()", True),
        ("ip('fd00::1').isLinkLocalMulticast()", False),
        ("ip('169.254.169.254').isLinkLocalUnicast()", True),
        ("ip('fe80::1').isLinkLocalUnicast()", True),
        ("ip('fd80::1').isLinkLocalUnicast()", False),
        ("ip('192.168.0.1').isGlobalUnicast()", True),
        ("ip('255.255.255.255').isGlobalUnicast()", False),
        ("ip('2001:db8::abcd').isGlobalUnicast()", True),
        ("ip('ff00::1').isGlobalUnicast()", False),
        ("ip.isCanonical('127.0.0.1')", True),
        ("ip.isCanonical('2001:DB8::ABCD')", False),
        ("ip.isCanonical('2001:db8::0:0:0:abcd')", False),
        ("ip('10.0.0.1') == ip('10.0.0.1')", True),
        ("type(ip('10.0.0.1')) == net.IP", True),
        ("isCIDR('192.168.0.0/16')", True),
        ("isCIDR('192.168.0.0/33')", False),
        ("isCIDR('::ffff:1.2.3.4/24')", False),
        ("cidr('192.168.0.0/24').containsIP(ip('192.168.0.1'))", True),
        ("cidr('192.168.0.0/24').containsIP('192.168.1.1')", False),
        ("cidr('192.168.0.0/24').containsIP('::1')", False),
        ("cidr('192.168.0.0/16').containsCIDR(cidr('192.168.10.0/24'))", True),
        ("cidr('192.168.1.0/24').containsCIDR('192.168.2.0/24')", False),
        ("cidr('192.168.0.0/24').containsCIDR('192.168.0.0/16')", False),
        ("string(cidr('192.168.0.1/24').ip())", "192.168.0.1"),
        ("string(cidr('192.168.0.1/24').masked())", "192.168.0.0/24"),
        ("cidr('192.168.0.1/24') == cidr('192.168.0.1/24').masked()", False),
        ("cidr('::1/128').prefixLength()", 128),
        ("type(cidr('10.0.0.0/8')) == net.CIDR", True),
    ],
)
def test_addresses_tell_what_they_are(evaluate: Evaluate, expression: str, value: Value) -> None:
    assert evaluate(expression) == value


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (
            "ip('not an ip')",
            'IP Address "not an ip" parse error during conversion from string: '
            'ParseAddr("not an ip"): unable to parse IP',
        ),
        ("ip('::ffff:1.2.3.4')", 'IPv4-mapped IPv6 address "::ffff:1.2.3.4" is not allowed'),
        ("ip('fe80::1%eth0')", 'IP address "fe80::1%eth0" with zone value is not allowed'),
        (
            "cidr('10.0.0.0')",
            "network address parse error during conversion from string: "
            "network address parse error during conversion from string: "
            "netip.ParsePrefix(\"10.0.0.0\"): no '/'",
        ),
    ],
)
def test_what_is_no_address_fails(fail: Callable[[str], str], expression: str, message: str) -> None:
    assert fail(expression) == message


@pytest.mark.parametrize(
    ("expression", "estimate", "cost"),
    [
        ("ip('192.168.0.1')", (2, 2), 2),
        ("ip('2001:db8:3333:4444:5555:6666:7777:8888')", (4, 4), 4),
        ("ip('192.168.0.1').isLoopback()", (3, 3), 3),
        ("ip('192.168.0.1').isGlobalUnicast()", (3, 3), 3),
        ("ip('192.168.0.1') == ip('192.168.0.1')", (5, 5), 5),
        ("ip.isCanonical('2001:db8:3333:4444:5555:6666:7777:8888')", (8, 8), 8),
        ("cidr('192.168.0.0/16')", (2, 2), 2),
        ("cidr('192.168.0.0/16').masked()", (3, 3), 3),
        ("cidr('192.168.0.0/16').ip()", (3, 3), 3),
        ("cidr('192.168.0.0/16') == cidr('2001:db8::/32')", (5, 5), 5),
        ("cidr('192.168.0.0/16').containsCIDR(cidr('192.0.0.0/30'))", (7, 11), 7),
        ("cidr('192.168.0.0/16').containsCIDR('192.0.0.0/30')", (7, 11), 7),
        ("cidr('192.168.0.0/16').containsIP(ip('192.0.0.1'))", (4, 7), 4),
        ("cidr('192.168.0.0/16').containsIP('192.169.0.1')", (5, 8), 5),
    ],
)
def test_costs_are_those_of_reading_and_comparing(
    costs_of: Callable[..., tuple[Estimate, int]], expression: str, estimate: tuple[int, int], cost: int
) -> None:
    assert costs_of(expression) == (Estimate(*estimate), cost)
