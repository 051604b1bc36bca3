"""Kubernetes' `semver` library, with its `normalize` argument (version 1 of the library)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from keelback.apimachinery import semantic_versions
from keelback.cel.declarations import Library, function, member, overload
from keelback.cel.errors import EvaluationError
from keelback.cel.libraries import costs
from keelback.cel.types import BOOL, INT, STRING, Type, opaque
from keelback.cel.values import OpaqueValue

SEMVER = opaque("kubernetes.Semver")


@final
@dataclass(frozen=True, slots=True)
class SemverValue(OpaqueValue):
    """One version; build metadata plays no part in equality."""

    cel_type: ClassVar[Type] = SEMVER
    version: semantic_versions.Version


def _parsed(text: str, normalize: bool) -> semantic_versions.Version:
    return semantic_versions.parse_normalized(text) if normalize else semantic_versions.parse(text)


def _semver(text: str, normalize: bool = False) -> SemverValue:
    try:
        return SemverValue(_parsed(text, normalize))
    except semantic_versions.VersionError as error:
        raise EvaluationError(str(error)) from None


def _is_semver(text: str, normalize: bool = False) -> bool:
    try:
        _parsed(text, normalize)
    except semantic_versions.VersionError:
        return False
    return True


def _signed(number: int) -> int:
    """As an int of the language: upstream lets numbers beyond wrap around."""
    return number - (1 << 64) if number >= 1 << 63 else number


def _major(value: SemverValue) -> int:
    return _signed(value.version.major)


def _minor(value: SemverValue) -> int:
    return _signed(value.version.minor)


def _patch(value: SemverValue) -> int:
    return _signed(value.version.patch)


def _is_greater(value: SemverValue, other: SemverValue) -> bool:
    return value.version > other.version


def _is_less(value: SemverValue, other: SemverValue) -> bool:
    return value.version < other.version


def _compared(value: SemverValue, other: SemverValue) -> int:
    return (value.version > other.version) - (value.version < other.version)


LIBRARY = Library(
    "kubernetes.Semver",
    functions=(
        function(
            "semver",
            overload("string_to_semver", (STRING,), SEMVER, _semver, **costs.TRAVERSAL),
            overload("string_bool_to_semver", (STRING, BOOL), SEMVER, _semver, **costs.TRAVERSAL),
        ),
        function(
            "isSemver",
            overload("is_semver_string", (STRING,), BOOL, _is_semver, **costs.TRAVERSAL),
            overload("is_semver_string_bool", (STRING, BOOL), BOOL, _is_semver, **costs.TRAVERSAL),
        ),
        function("major", member("semver_major", (SEMVER,), INT, _major, **costs.NOMINAL)),
        function("minor", member("semver_minor", (SEMVER,), INT, _minor, **costs.NOMINAL)),
        function("patch", member("semver_patch", (SEMVER,), INT, _patch, **costs.NOMINAL)),
        function(
            "isGreaterThan",
            member("semver_is_greater_than", (SEMVER, SEMVER), BOOL, _is_greater, **costs.NOMINAL),
        ),
        function("isLessThan", member("semver_is_less_than", (SEMVER, SEMVER), BOOL, _is_less, **costs.NOMINAL)),
        function("compareTo", member("semver_compare_to", (SEMVER, SEMVER), INT, _compared, **costs.NOMINAL)),
    ),
)
