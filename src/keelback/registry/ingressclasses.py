"""IngressClasses: their controller never changes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from keelback.api.networking_v1 import IngressClass, IngressClassParametersReference
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, forbidden, invalid, not_supported, required, too_long
from keelback.registry import local_references
from keelback.registry.cells import NONE
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import text

_LONGEST_CONTROLLER: Final = 250
_SCOPES: Final = ("Cluster", "Namespace")
_PATH: Final = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+"


def _parameters(ingress_class: IngressClass) -> str:
    given = ingress_class.spec.parameters
    if given is None:
        return NONE
    return f"{given.kind}.{given.api_group}/{given.name}" if given.api_group else f"{given.kind}/{given.name}"


class IngressClassStrategy(Strategy[IngressClass]):
    kind = IngressClass
    checks_metadata_as_new = True
    columns = (text("Controller", lambda one: one.spec.controller), text("Parameters", _parameters), AGE)

    def validate(self, new: IngressClass) -> Iterator[FieldError]:
        controller = new.spec.controller
        if len(controller) > _LONGEST_CONTROLLER:
            yield too_long("spec.controller", _LONGEST_CONTROLLER)
        yield from _prefixed_path(controller, "spec.controller")
        if new.spec.parameters is not None:
            yield from _parameter_problems(new.spec.parameters, "spec.parameters")

    def validate_update(self, new: IngressClass, old: IngressClass) -> Iterator[FieldError]:
        if new.spec.controller != old.spec.controller:
            yield invalid("spec.controller", new.spec.controller, "field is immutable")
        yield from self.validate(new)


def _prefixed_path(value: str, path: str) -> Iterator[FieldError]:
    """A domain and a path below it, as `acme.io/foo` (apimachinery's IsDomainPrefixedPath)."""
    if not value:
        yield required(path)
        return
    domain, _, rest = value.partition("/")
    if not domain or not rest:
        yield invalid(path, value, 'must be a domain-prefixed path (such as "acme.io/foo")')
        return
    for complaint in names.dns1123_subdomain(domain):
        yield invalid(path, domain, complaint)
    if not re.fullmatch(_PATH, rest):
        yield invalid(path, rest, names.regex_error("Invalid path", _PATH))


def _parameter_problems(given: IngressClassParametersReference, path: str) -> Iterator[FieldError]:
    yield from local_references.problems(given, path)
    if given.scope not in _SCOPES:
        yield not_supported(f"{path}.scope", given.scope, _SCOPES)
    elif given.scope == "Cluster":
        if given.namespace:
            yield forbidden(f"{path}.namespace", "`parameters.scope` is set to 'Cluster'")
    elif not given.namespace:
        yield required(f"{path}.namespace", "`parameters.scope` is set to 'Namespace'")
    else:
        for complaint in names.dns1123_label(given.namespace):
            yield invalid(f"{path}.namespace", given.namespace, complaint)
