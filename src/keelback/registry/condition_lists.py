"""What the conditions in a status may say, where they are of the type that all kinds share (metav1.Condition)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, duplicate, invalid, not_supported, required, too_long
from keelback.apimachinery.meta import Condition

_STATUSES: Final = ("False", "True", "Unknown")
_REASON: Final = "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?"
_is_reason: Final = re.compile(_REASON).fullmatch
_REASON_ERROR: Final = names.regex_error(
    "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric "
    "characters or '_,:', and must end with an alphanumeric character or '_'",
    _REASON,
    "my_name",
    "MY_NAME",
    "MyName",
    "ReasonA,ReasonB",
    "ReasonA:ReasonB",
)
_LONGEST_REASON: Final = 1024
_LONGEST_MESSAGE: Final = 32 * 1024


def validate(conditions: Sequence[Condition], path: str) -> Iterator[FieldError]:
    """Everything wrong with a list of conditions."""
    places: dict[str, int] = {}
    for index, one in enumerate(conditions):
        here = f"{path}[{index}]"
        if places.setdefault(one.type, index) != index:
            yield duplicate(f"{here}.type", one.type)
        yield from _condition(one, here)


def _condition(one: Condition, path: str) -> Iterator[FieldError]:
    if not one.type:
        yield required(f"{path}.type", "must be set")
    else:
        for complaint in names.qualified_name(one.type):
            yield invalid(f"{path}.type", one.type, complaint)
    if not one.status:
        yield required(f"{path}.status", "must be set")
    elif one.status not in _STATUSES:
        yield not_supported(f"{path}.status", one.status, _STATUSES)
    if one.observed_generation < 0:
        yield invalid(f"{path}.observedGeneration", one.observed_generation, "must be greater than or equal to zero")
    if one.last_transition_time is None:
        yield required(f"{path}.lastTransitionTime", "must be set")
    if len(one.reason.encode()) > _LONGEST_REASON:
        yield too_long(f"{path}.reason", _LONGEST_REASON)
    elif not one.reason:
        yield required(f"{path}.reason", "must be set")
    elif not _is_reason(one.reason):
        yield invalid(f"{path}.reason", one.reason, _REASON_ERROR)
    if len(one.message.encode()) > _LONGEST_MESSAGE:
        yield too_long(f"{path}.message", _LONGEST_MESSAGE)
