"""Sets of completion indexes as a Job's status writes them: `1,3-5,7`. Pure."""

from __future__ import annotations

from collections.abc import Iterable


def parse(text: str, completions: int) -> set[int]:
    """The indexes below `completions`; what does not parse is left out, as upstream does."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        try:
            low, high = int(first), int(last or first)
        except ValueError:
            continue
        found.update(range(low, min(high, completions - 1) + 1))
    return found


def written(indexes: Iterable[int]) -> str:
    """The indexes in order; three neighbours and more become a range."""
    parts: list[str] = []
    run: list[int] = []
    for index in [*sorted(set(indexes)), None]:
        if run and (index is None or index != run[-1] + 1):
            parts.extend([f"{run[0]}-{run[-1]}"] if len(run) > 2 else map(str, run))
            run = []
        if index is not None:
            run.append(index)
    return ",".join(parts)
