"""Property names as expressions write them: `foo-bar` is `foo__dash__bar` (k8s.io/apiserver/pkg/cel/escaping.go)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

RESERVED: Final = frozenset(
    {
        *("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if"),
        *("import", "let", "loop", "package", "namespace", "return", "var", "void", "while"),
    }
)
"""The words that the language keeps for itself."""

_NAMES: Final = {"__": "underscores", ".": "dot", "-": "dash", "/": "slash"}
_ALLOWED = re.compile(r"[a-zA-Z_./-][a-zA-Z0-9_./-]*", re.ASCII)
_ESCAPED = re.compile(r"__|[-./]")


@lru_cache(maxsize=4096)
def escaped(name: str) -> str | None:
    """The identifier for a property, or None if no expression can name it."""
    if not _ALLOWED.fullmatch(name):
        return None
    if name in RESERVED:
        return f"__{name}__"
    return _ESCAPED.sub(lambda match: f"__{_NAMES[match[0]]}__", name)
