"""The formats of strings that are enforced."""

from __future__ import annotations

import pytest

from keelback.apimachinery.structural_schema_formats import has_format, is_enforced


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [
        ("bsonobjectid", "507f1f77bcf86cd799439011", "507f1f77bcf86cd79943901"),
        ("byte", "aGk=", "a"),
        ("byte", "aGVs", ""),
        ("cidr", "10.0.0.0/8", "10.0.0.0"),
        ("cidr", "fd00::/64", "fd00::/129"),
        ("creditcard", "4111 1111 1111 1111", "4111 1111 1111 1112"),
        ("date", "2026-01-02", "2026-02-30"),
        ("date-time", "2026-01-02T03:04:05.6Z", "2026-13-02T03:04:05Z"),
        ("date-time", "2026-01-02t03:04:05+01:00", "2026-01-02 03:04:05Z"),
        ("datetime", "2026-01-02T23:59:59Z", "2026-01-02T24:00:00Z"),
        ("duration", "1h30m", "soon"),
        ("duration", "2 days", "2 moons"),
        ("email", "a@example.com", "a"),
        ("email", "Ann Other <a@example.com>", "a@"),
        ("hexcolor", "#a1b2c3", "#a1b2"),
        ("hostname", "a.example.com", "a..example.com"),
        ("ipv4", "10.0.0.1", "10.0.0.256"),
        ("ipv6", "fd00::1", "fd00:::1"),
        ("ipv6", "::ffff:10.0.0.1", "1:2:3:4:5:6:7:8:9"),
        ("isbn", "978-3-16-148410-0", "978-3-16-148410-1"),
        ("isbn10", "3836221195", "3836221194"),
        ("mac", "00:00:5e:00:53:01", "00:00:5e:00:53"),
        ("mac", "0000.5e00.5301", "0000.5e00"),
        ("rgbcolor", "rgb(1, 2, 255)", "rgb(1, 2, 256)"),
        ("ssn", "111-22-3333", "111-22-333"),
        ("uri", "https://example.com/x", "no uri"),
        ("uuid", "57f98d1e-cff4-456b-b9ea-2c64cc417e7c", "57f98d1e"),
        ("uuid4", "57f98d1e-cff4-456b-b9ea-2c64cc417e7c", "57f98d1e-cff4-356b-b9ea-2c64cc417e7c"),
        ("k8s-short-name", "abc", "a.b"),
        ("k8s-long-name", "a.b", "a_b"),
    ],
)
def test_formats(form: str, good: str, bad: str) -> None:
    assert has_format(good, form)
    assert not has_format(bad, form)
    assert has_format(bad, "no-such-format")


def test_ranges_of_integers_are_no_formats() -> None:
    assert not is_enforced("int32")
