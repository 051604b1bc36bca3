"""What numbers that may also be percentages may say."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.apimachinery import int_or_string, names
from keelback.apimachinery.errors import FieldError, invalid


def validate_non_negative(value: int | str, path: str) -> Iterator[FieldError]:
    """The complaint about less than nothing, or a text that is no percentage."""
    if isinstance(value, int):
        if value < 0:
            yield invalid(path, value, "must be greater than or equal to 0")
    else:
        for complaint in names.percent(value):
            yield invalid(path, value, complaint)


def is_nothing(value: int | str) -> bool:
    """Whether it stands for nothing, as any text does that is neither a percentage nor a number."""
    if isinstance(value, int):
        return value == 0
    digits = value.removesuffix("%")
    return not (digits.isascii() and digits.isdigit()) or int(digits) == 0


def validate_percent(value: int | str, path: str) -> Iterator[FieldError]:
    """The complaint about more than everything."""
    if isinstance(value, str) and int_or_string.is_percentage(value) and int_or_string.percentage(value) > 100:
        yield invalid(path, value, "must not be greater than 100%")
