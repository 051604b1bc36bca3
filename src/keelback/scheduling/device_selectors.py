"""The expressions that choose devices: over `device`, with its attributes and capacities by domain and name.

The environment, and what an evaluation may cost, are those of k8s.io/dynamic-resource-allocation/cel.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any, Final

from keelback.api.resource_v1 import DeviceAttribute, DeviceCapacity
from keelback.apimachinery import semantic_versions
from keelback.cel.environment import Budget, Environment, Program
from keelback.cel.equality import runtime_type
from keelback.cel.errors import CompileError, EvaluationError
from keelback.cel.libraries import quantities
from keelback.cel.libraries.kubernetes import kubernetes
from keelback.cel.libraries.quantities import QUANTITY
from keelback.cel.libraries.versions import SemverValue
from keelback.cel.macros import BINDINGS
from keelback.cel.types import ANY, BOOL, STRING, map_of, object_of, type_name
from keelback.cel.values import DomainMap, Value

COST_LIMIT: Final = 1_000_000
"""What one evaluation may cost (CELSelectorExpressionMaxCost)."""

_DEVICE: Final = object_of(
    "kubernetes.DRADevice",
    {
        "driver": STRING,
        "allowMultipleAllocations": BOOL,
        "attributes": map_of(STRING, map_of(STRING, ANY)),
        "capacity": map_of(STRING, map_of(STRING, QUANTITY)),
    },
)
_COMPILED: Final = 1024


class SelectorError(Exception):
    """An expression that cannot be compiled, or that has no answer for a device. The text is upstream's."""


@cache
def environment() -> Environment:
    """What an expression may speak of."""
    return kubernetes().extend(variables={"device": _DEVICE}, libraries=(BINDINGS,))


def compiled(expression: str) -> Program:
    """Ready to evaluate. Raises SelectorError, of an expression that chooses no devices too."""
    found = _compiled(expression)
    if isinstance(found, str):
        raise SelectorError(found)
    return found


@lru_cache(maxsize=_COMPILED)
def _compiled(expression: str) -> Program | str:
    try:
        program = environment().compile(expression, expected=())
    except CompileError as error:
        return f"compilation failed: {error}"
    # An attribute may turn out to be true or false.
    if program.type not in (BOOL, ANY):
        return f"must evaluate to bool or the unknown type, not {program.type}"
    return program


def described(
    driver: str,
    attributes: Mapping[str, DeviceAttribute],
    capacity: Mapping[str, DeviceCapacity],
    allows_multiple_allocations: bool,
) -> Value:
    """A device as expressions see it. Raises SelectorError for an attribute that has no value."""
    by_domain: DomainMap = DomainMap()
    for name, attribute in attributes.items():
        domain, identifier = qualified(name, driver)
        by_domain.setdefault(domain, {})[identifier] = _value(name, attribute)
    capacities: DomainMap = DomainMap()
    for name, one in capacity.items():
        domain, identifier = qualified(name, driver)
        capacities.setdefault(domain, {})[identifier] = quantities.of_text(one.value)
    return {
        "driver": driver,
        "allowMultipleAllocations": allows_multiple_allocations,
        "attributes": by_domain,
        "capacity": capacities,
    }


def chooses(expression: str, device: Value) -> bool:
    """Whether the expression picks a device that `described` has described. Raises SelectorError."""
    program = compiled(expression)
    try:
        answer = program.evaluate({"device": device}, Budget(COST_LIMIT, COST_LIMIT))
    except EvaluationError as error:
        raise SelectorError(error.message) from None
    if not isinstance(answer, bool):
        kind = type_name(runtime_type(answer))
        raise SelectorError(f"CEL result of type {kind} could not be converted to bool")
    return answer


def qualified(name: str, driver: str) -> tuple[str, str]:
    """The domain and the identifier of an attribute or a capacity: what names no domain is the driver's own."""
    domain, slash, identifier = name.partition("/")
    return (domain, identifier) if slash else (driver, name)


def _value(name: str, attribute: DeviceAttribute) -> Any:
    for value in (attribute.int_, attribute.bool_, attribute.string):
        if value is not None:
            return value
    if attribute.version is not None:
        try:
            return SemverValue(semantic_versions.parse(attribute.version))
        except semantic_versions.VersionError as error:
            raise SelectorError(f"attribute {name}: parse semantic version: {error}") from None
    raise SelectorError(f"attribute {name}: unsupported attribute value")
