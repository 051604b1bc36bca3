"""Label selectors, compiled to values that can be compared and hashed, so that equal selectors share one count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from keelback.api.nodes import holds
from keelback.apimachinery.meta import LabelSelector


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


Requirements: TypeAlias = tuple[Requirement, ...]
"""All must hold; none hold everything."""

Selector: TypeAlias = "Requirements | None"
"""None is the selector that picks nothing, as a missing label selector does."""


def compile_selector(selector: LabelSelector | None) -> Selector:
    """The selector as requirements in a fixed order."""
    if selector is None:
        return None
    return (
        *equals(selector.match_labels),
        *(Requirement(one.key, one.operator, tuple(sorted(one.values))) for one in selector.match_expressions),
    )


def equals(labels: Mapping[str, str]) -> Requirements:
    """The requirements that each of the labels is there with its value."""
    return tuple(Requirement(key, "In", (labels[key],)) for key in sorted(labels))


def picks(selector: Selector, labels: Mapping[str, str]) -> bool:
    """Whether the selector picks an object with these labels."""
    if selector is None:
        return False
    for requirement in selector:
        # Nearly all requirements are equalities; the general operators are the exception.
        if requirement.operator == "In":
            if labels.get(requirement.key) not in requirement.values:
                return False
        elif not holds(labels.get(requirement.key), requirement.operator, requirement.values):
            return False
    return True
