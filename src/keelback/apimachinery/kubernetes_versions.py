"""The minor versions of Kubernetes whose API can be served: which there are, and how they are written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_FIRST_MINOR: Final = 28
_LAST_MINOR: Final = 37
_WRITTEN: Final = re.compile(r"v?1\.(0|[1-9]\d*)(\.\d+)?")


@dataclass(frozen=True, slots=True, order=True)
class KubernetesVersion:
    """One minor version of Kubernetes 1."""

    minor: int

    def __str__(self) -> str:
        return f"1.{self.minor}"

    @property
    def git_version(self) -> str:
        """As components say it: `v1.36.0`."""
        return f"v1.{self.minor}.0"


SUPPORTED: Final = tuple(KubernetesVersion(minor) for minor in range(_FIRST_MINOR, _LAST_MINOR + 1))
DEFAULT: Final = KubernetesVersion(36)
CHOICE: Final = f"{SUPPORTED[0]} to {SUPPORTED[-1]}"
"""What may be chosen, in words."""


def parse(text: str) -> KubernetesVersion:
    """The version that is written `1.36`, `v1.36` or `v1.36.2`. Raises ValueError, naming those that there are."""
    found = _WRITTEN.fullmatch(text.strip())
    version = KubernetesVersion(int(found[1])) if found is not None else None
    if version is None or version not in SUPPORTED:
        raise ValueError(f"Kubernetes {text}: there is {', '.join(map(str, SUPPORTED))}")
    return version
