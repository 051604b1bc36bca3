"""The names of images, as far as a container's pull policy follows from them (github.com/distribution/reference)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_DOMAIN_PART: Final = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN: Final = rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_PATH_PART: Final = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_DIGEST: Final = "sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}"
_parsed: Final = re.compile(
    rf"(?P<name>(?:{_DOMAIN}/)?{_PATH_PART}(?:/{_PATH_PART})*)(?::(?P<tag>\w[\w.-]{{0,127}}))?(?:@(?P<digest>{_DIGEST}))?",
    re.ASCII,
).fullmatch
_is_identifier: Final = re.compile("[a-f0-9]{64}").fullmatch
_LONGEST_NAME: Final = 255
_KEPT: Final = 4096


@lru_cache(maxsize=_KEPT)
def tag(image: str) -> str:
    """The tag: `latest` where there is neither tag nor digest; nothing where the name is none."""
    found = _parsed(image)
    if found is None or len(found["name"]) > _LONGEST_NAME or _is_identifier(image):
        return ""
    return found["tag"] or ("" if found["digest"] else "latest")
