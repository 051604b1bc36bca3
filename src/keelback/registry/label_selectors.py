"""What a label selector in an object may say."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, forbidden, invalid, required
from keelback.apimachinery.meta import LabelSelector
from keelback.apimachinery.validation import label_map


def validate(selector: LabelSelector | None, path: str) -> Iterator[FieldError]:
    """Everything wrong with a label selector."""
    if selector is None:
        return
    yield from label_map(selector.match_labels, f"{path}.matchLabels")
    for index, requirement in enumerate(selector.match_expressions):
        here = f"{path}.matchExpressions[{index}]"
        match requirement.operator:
            case "In" | "NotIn":
                if not requirement.values:
                    yield required(f"{here}.values", "must be specified when `operator` is 'In' or 'NotIn'")
            case "Exists" | "DoesNotExist":
                if requirement.values:
                    yield forbidden(
                        f"{here}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                    )
            case _:
                yield invalid(f"{here}.operator", requirement.operator, "not a valid selector operator")
        for complaint in names.qualified_name(requirement.key):
            yield invalid(f"{here}.key", requirement.key, complaint)
        for place, value in enumerate(requirement.values):
            for complaint in names.label_value(value):
                yield invalid(f"{here}.values[{place}]", value, complaint)


def is_empty(selector: LabelSelector | None) -> bool:
    """Whether it is there and picks everything."""
    return selector is not None and not selector.match_labels and not selector.match_expressions
