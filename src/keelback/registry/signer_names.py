"""Names of signers: a domain and a path, as `example.com/signer-name`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, invalid, required, too_long

_DOMAIN_LENGTH: Final = 253
_LENGTH: Final = 253 + (253 + 63 + 1) + 1


def problems(name: str, path: str) -> Iterator[FieldError]:
    """What is wrong with a signer's name (apivalidation.ValidateSignerName)."""
    if not name:
        yield required(path)
        return
    domain, slash, rest = name.partition("/")
    if not slash or "/" in rest:
        yield invalid(path, name, "must be a fully qualified domain and path of the form 'example.com/signer-name'")
        return
    if len(domain) > _DOMAIN_LENGTH:
        yield too_long(path, _DOMAIN_LENGTH)
    labels = domain.split(".")
    yield from _first_bad(labels, domain, path, names.dns1123_label)
    if len(labels) < 2:
        yield invalid(path, domain, "should be a domain with at least two segments separated by dots")
    yield from _first_bad(rest.split("."), rest, path, names.dns1123_subdomain)
    if len(name) > _LENGTH:
        yield too_long(path, _LENGTH)


def _first_bad(
    labels: list[str], whole: str, path: str, check: Callable[[str], names.Complaints]
) -> Iterator[FieldError]:
    for label in labels:
        complaints = check(label)
        for complaint in complaints:
            yield invalid(path, whole, f'validating label "{label}": {complaint}')
        if complaints:
            return
