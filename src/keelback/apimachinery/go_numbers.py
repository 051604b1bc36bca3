"""Numbers in text as Go's strconv takes them: ASCII digits and nothing else, 64 bits wide."""

from __future__ import annotations


def parse_uint(text: str) -> int:
    """An unsigned number. Raises ValueError with the message of strconv.ParseUint."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f'strconv.ParseUint: parsing "{text}": invalid syntax')
    # The length first: Python refuses to read thousands of digits.
    if len(text.lstrip("0")) > 20 or int(text.lstrip("0") or "0") >= 2**64:
        raise ValueError(f'strconv.ParseUint: parsing "{text}": value out of range')
    return int(text.lstrip("0") or "0")


def parse_int(text: str) -> int:
    """A number with or without sign. Raises ValueError with the message of strconv.ParseInt."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    digits = digits.lstrip("0") or "0"
    value = int(digits) if len(digits) < 20 else 2**64
    value = -value if text[0] == "-" else value
    if not -(2**63) <= value < 2**63:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": value out of range')
    return value
