"""`$(NAME)` in commands, arguments, environment values and paths, as Kubernetes expands it."""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$(\$|\(([^()$]*)\))")


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`$(NAME)` becomes the variable's value, `$$` becomes `$`; a name that is not known stays as it stands."""

    def value_of(match: re.Match[str]) -> str:
        if match.group(1) == "$":
            return "$"
        found = variables.get(match.group(2))
        return match.group(0) if found is None else found

    return _REFERENCE.sub(value_of, text) if "$" in text else text


class UnknownVariable(ValueError):
    """A path names a variable that is not set."""


def expand_strictly(text: str, variables: Mapping[str, str]) -> str:
    """As `expand`, for subPathExpr: an unknown name is an error."""
    for match in _REFERENCE.finditer(text):
        name = match.group(2)
        if name is not None and name not in variables:
            raise UnknownVariable(f"missing value for {name!r}".replace("'", '"'))
    return expand(text, variables)
