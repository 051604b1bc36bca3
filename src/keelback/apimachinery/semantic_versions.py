"""Semantic versions (semver.org, 2.0.0): parsed, ordered, and the complaints of the library that upstream uses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering

from keelback.apimachinery.go_text import go_quoted

_DIGITS = re.compile(r"[0-9]*", re.ASCII)
_IDENTIFIER = re.compile(r"[0-9A-Za-z-]*", re.ASCII)
_UINT64_MAX = (1 << 64) - 1


class VersionError(ValueError):
    """A text that is no semantic version; the message is upstream's."""


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """A version. Build metadata has no part in order and equality."""

    major: int
    minor: int
    patch: int
    pre_release: tuple[int | str, ...] = ()
    build: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"{self.major}.{self.minor}.{self.patch}"
        if self.pre_release:
            text += "-" + ".".join(map(str, self.pre_release))
        return text + ("+" + ".".join(self.build) if self.build else "")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self._rank == other._rank

    def __lt__(self, other: Version) -> bool:
        return self._rank < other._rank

    def __hash__(self) -> int:
        return hash(self._rank)

    @property
    def _rank(self) -> tuple[object, ...]:
        """Numbers before words; a release after all its pre-releases."""
        identifiers = tuple(
            (0, identifier, "") if isinstance(identifier, int) else (1, 0, identifier)
            for identifier in self.pre_release
        )
        return (self.major, self.minor, self.patch, not identifiers, identifiers)


def parse(text: str) -> Version:
    """Exactly the form `1.2.3-alpha.1+build`. Raises VersionError."""
    if not text:
        raise VersionError("Version string empty")
    parts = text.split(".", 2)
    if len(parts) != 3:
        raise VersionError("No Major.Minor.Patch elements found")
    major, minor = _number(parts[0], "major", "Major"), _number(parts[1], "minor", "Minor")
    rest, plus, build = parts[2].partition("+")
    patch, dash, pre_release = rest.partition("-")
    return Version(
        major,
        minor,
        _number(patch, "patch", "Patch"),
        tuple(map(_pre_release, pre_release.split("."))) if dash else (),
        tuple(map(_build, build.split("."))) if plus else (),
    )


def parse_normalized(text: str) -> Version:
    """`v1.2` and `01.02.03` too: a leading v and zeros go, and missing numbers are zero. Raises VersionError."""
    parts = [_without_zeros(part) for part in text.removeprefix("v").split(".", 2)]
    if len(parts) < 3:
        if "+" in parts[-1] or "-" in parts[-1]:
            raise VersionError("short version cannot contain PreRelease/Build meta data")
        parts += ["0"] * (3 - len(parts))
    return parse(".".join(parts))


def _without_zeros(part: str) -> str:
    if len(part) <= 1:
        return part
    stripped = part.lstrip("0")
    return stripped if stripped and "0" <= stripped[0] <= "9" else "0" + stripped


def _number(text: str, word: str, title: str) -> int:
    if not _DIGITS.fullmatch(text):
        raise VersionError(f"Invalid character(s) found in {word} number {go_quoted(text)}")
    if len(text) > 1 and text.startswith("0"):
        raise VersionError(f"{title} number must not contain leading zeroes {go_quoted(text)}")
    return _uint(text)


def _uint(text: str) -> int:
    if not text:
        raise VersionError('strconv.ParseUint: parsing "": invalid syntax')
    if len(text) > 20 or int(text) > _UINT64_MAX:
        raise VersionError(f"strconv.ParseUint: parsing {go_quoted(text)}: value out of range")
    return int(text)


def _pre_release(identifier: str) -> int | str:
    if not identifier:
        raise VersionError("Prerelease is empty")
    if _DIGITS.fullmatch(identifier):
        if len(identifier) > 1 and identifier.startswith("0"):
            raise VersionError(f"Numeric PreRelease version must not contain leading zeroes {go_quoted(identifier)}")
        return _uint(identifier)
    if not _IDENTIFIER.fullmatch(identifier):
        raise VersionError(f"Invalid character(s) found in prerelease {go_quoted(identifier)}")
    return identifier


def _build(identifier: str) -> str:
    if not identifier:
        raise VersionError("Build meta data is empty")
    if not _IDENTIFIER.fullmatch(identifier):
        raise VersionError(f"Invalid character(s) found in build meta data {go_quoted(identifier)}")
    return identifier
