"""What may stand in a container's `image`: the grammar of github.com/distribution/reference, and its complaints."""

from __future__ import annotations

import re

_COMPONENT = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_COMPONENT}(?:\.{_COMPONENT})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_PATH = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(rf"(?:{_DOMAIN}/)?{_PATH}(?:/{_PATH})*(?::{_TAG})?(?:@{_DIGEST})?")
_IDENTIFIER = re.compile("[a-f0-9]{64}")
_LONGEST = 4096


def problem(image: str) -> str:
    """Why a text names no image, in upstream's words; empty if it does."""
    if _IDENTIFIER.fullmatch(image):
        return f"invalid repository name ({image}), cannot specify 64-byte hexadecimal strings"
    if len(image) > _LONGEST:
        return "invalid reference format"
    first, slash, rest = image.partition("/")
    has_domain = bool(slash) and (any(one in first for one in ".:") or first == "localhost" or first != first.lower())
    remote = (rest if has_domain else image).partition("@")[0]
    head, _, last = remote.rpartition("/")
    path = f"{head}/{last.partition(':')[0]}" if head else last.partition(":")[0]
    if path != path.lower():
        return (
            f"invalid reference format: repository name ({path if has_domain else _familiar(path)}) must be lowercase"
        )
    return "" if _REFERENCE.fullmatch(image) else "invalid reference format"


def _familiar(path: str) -> str:
    """Names without a slash are those of Docker's library."""
    return path if "/" in path else f"library/{path}"
