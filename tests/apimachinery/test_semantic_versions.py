"""Semantic versions have the order of semver.org, and are refused in upstream's words."""

from __future__ import annotations

import itertools

import pytest

from keelback.apimachinery import semantic_versions
from keelback.apimachinery.semantic_versions import VersionError, parse, parse_normalized

ASCENDING = (
    "0.9.9",
    "1.0.0-1",
    "1.0.0-2",
    "1.0.0-10",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0",
    "1.0.1",
    "1.10.0",
    "2.0.0",
)


def test_versions_are_ordered_as_the_specification_says() -> None:
    versions = list(map(parse, ASCENDING))
    for lower, higher in itertools.combinations(versions, 2):
        assert lower < higher
        assert lower != higher


def test_build_metadata_plays_no_part_in_equality() -> None:
    assert parse("1.2.3+a") == parse("1.2.3+b.1")
    assert hash(parse("1.2.3+a")) == hash(parse("1.2.3"))


def test_a_version_is_written_as_it_was_read() -> None:
    for text in (*ASCENDING, "1.2.3-a.1+build.5"):
        assert str(parse(text)) == text


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "Version string empty"),
        ("1.0", "No Major.Minor.Patch elements found"),
        ("v1.0.0", 'Invalid character(s) found in major number "v1"'),
        ("1.02.0", 'Minor number must not contain leading zeroes "02"'),
        ("1.0.0-", "Prerelease is empty"),
        ("1.0.0-01", 'Numeric PreRelease version must not contain leading zeroes "01"'),
        ("1.0.0-é", 'Invalid character(s) found in prerelease "é"'),
        ("1.0.0+", "Build meta data is empty"),
        ("1..0", 'strconv.ParseUint: parsing "": invalid syntax'),
        ("18446744073709551616.0.0", 'strconv.ParseUint: parsing "18446744073709551616": value out of range'),
    ],
)
def test_what_is_no_version_is_refused_in_the_words_of_upstream(text: str, complaint: str) -> None:
    with pytest.raises(VersionError) as refusal:
        parse(text)
    assert str(refusal.value) == complaint


@pytest.mark.parametrize(
    ("text", "normalized"),
    [("v1.0.0", "1.0.0"), ("1.0", "1.0.0"), ("v2", "2.0.0"), ("01.01.01", "1.1.1"), ("1.0.00-rc.1", "1.0.0-rc.1")],
)
def test_normalization_fills_up_what_is_short(text: str, normalized: str) -> None:
    assert str(parse_normalized(text)) == normalized


def test_a_short_version_has_no_pre_release() -> None:
    with pytest.raises(semantic_versions.VersionError, match="short version cannot contain PreRelease/Build meta data"):
        parse_normalized("1.0-rc1")
