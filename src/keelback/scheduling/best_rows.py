"""The rows of the greatest rank, of which one is taken by chance: looked for once, then kept as ranks change."""

from __future__ import annotations

import random
from typing import Final

import numpy as np
import numpy.typing as npt

NOWHERE: Final = -(2**62)
"""The rank of a row that a filter refuses."""

_Ranks = npt.NDArray[np.int64]


class BestRows:
    """Those of one column of ranks, whose every change it has to be told of."""

    __slots__ = ("_count", "_listed", "_rank", "_ranks", "_rows")

    def __init__(self, ranks: _Ranks) -> None:
        self._ranks = ranks
        self._find()

    def _find(self) -> None:
        self._rank = int(self._ranks.max(initial=NOWHERE))
        # A row that has lost its rank stays listed until it is drawn: it may have it back by then.
        self._listed = self._ranks == self._rank
        self._rows = np.flatnonzero(self._listed)
        self._count = len(self._rows)

    def one(self, chance: random.Random) -> int | None:
        """One of them, each as likely as the others; None where every row is refused."""
        if not self._count:
            self._find()
        while self._rank != NOWHERE:
            at = int(chance.random() * self._count) if self._count > 1 else 0
            row: int = self._rows.item(at)
            if self._ranks.item(row) == self._rank:
                return row
            self._listed[row] = False
            self._count -= 1
            self._rows[at] = self._rows[self._count]
            if not self._count:
                self._find()
        return None

    def changed(self, row: int, rank: int) -> None:
        """A row has this rank now."""
        if rank < self._rank or (rank == self._rank and self._listed[row]):
            return
        if rank > self._rank or self._count == len(self._rows):
            self._count = 0
        else:
            self._listed[row] = True
            self._rows[self._count] = row
            self._count += 1
