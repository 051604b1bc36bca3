"""Files of environment variables, as fileKeyRef reads them (KEP-3721): `NAME='value'`, one after the other. Pure.

What is between the quotes is taken literally, line ends included. Blank lines and lines that begin with # count for
nothing.
"""

from __future__ import annotations

import re

_ASSIGNMENT = re.compile(r"([^=\s#][^=\n]*)='([^']*)'[ \t]*(?:\n|$)")
_NOTHING = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|$)")


def parse(text: str) -> dict[str, str]:
    """The variables of a file; the last one of a name counts. Raises ValueError for what is not one."""
    text = text.replace("\r\n", "\n")
    found: dict[str, str] = {}
    position = 0
    while position < len(text):
        nothing = _NOTHING.match(text, position)
        if nothing is not None:
            position = nothing.end()
            continue
        while text[position] in " \t":
            position += 1
        match = _ASSIGNMENT.match(text, position)
        if match is None:
            line = text.count("\n", 0, position) + 1
            raise ValueError(f"invalid environment variable format at line {line}: expected NAME='value'")
        found[match.group(1)] = match.group(2)
        position = match.end()
    return found
