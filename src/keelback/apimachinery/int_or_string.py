"""Numbers that may also be percentages ("25%"): reading them and scaling them to a total."""

from __future__ import annotations

import re

_PERCENTAGE = re.compile(r"[-+]?[0-9]+%", re.ASCII)
_INTEGER = re.compile(r"[-+]?[0-9]+", re.ASCII)


class IntOrStringError(ValueError):
    """A value that is neither a number nor a percentage; the message is upstream's."""


def is_percentage(value: int | str) -> bool:
    """Whether the value is a percentage such as "25%"."""
    return isinstance(value, str) and _PERCENTAGE.fullmatch(value) is not None


def percentage(value: str) -> int:
    """The number of a percentage.

    Raises:
        IntOrStringError: The text is no percentage.
    """
    if not value.endswith("%"):
        raise IntOrStringError("invalid type: string is not a percentage")
    if not _PERCENTAGE.fullmatch(value):
        raise IntOrStringError(f'invalid value "{value}": strconv.Atoi: parsing "{value[:-1]}": invalid syntax')
    return int(value[:-1])


def scaled_value(value: int | str | None, total: int, *, round_up: bool) -> int:
    """A number as it is, or a percentage of `total` rounded up or down.

    Raises:
        IntOrStringError: The value is missing, or a text that is no percentage.
    """
    if value is None:
        raise IntOrStringError("nil value for IntOrString")
    if isinstance(value, int):
        return value
    try:
        percents = percentage(value)
    except IntOrStringError as error:
        raise IntOrStringError(f"invalid value for IntOrString: {error}") from None
    product = percents * total
    return -(-product // 100) if round_up else product // 100


def int_value(value: int | str) -> int:
    """The number in a value, 0 where there is none, as upstream's IntValue."""
    if isinstance(value, int):
        return value
    return int(value) if _INTEGER.fullmatch(value) else 0
