"""What a job may say and had better not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from keelback.api.batch_v1 import JobSpec

_MANY: Final = 100_000
_MUCH_PARALLELISM: Final = 10_000


def of_spec(spec: JobSpec, path: str) -> Iterator[str]:
    """The warnings about a job's spec: a status that lists very many indexes gets too large."""
    completions, parallelism = spec.completions or 0, spec.parallelism or 0
    if spec.completion_mode == "Indexed" and completions > _MANY and parallelism > _MUCH_PARALLELISM:
        yield (
            f"{path}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than "
            "10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
        )
