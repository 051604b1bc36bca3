"""What preemption knows of each node for pods of one shape, as columns: who would have to go, and how much that hurts.

It holds for a node until pods come to it or leave it, or others are promised it.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from keelback.scheduling.framework import Unschedulable

C = TypeVar("C")

Rows = npt.NDArray[np.intp]


class VictimNotes(Generic[C]):
    """For as many rows as there are nodes; a changed node makes all of it void."""

    def __init__(self, rows: int, criteria: int) -> None:
        self._touches = np.full(rows, -1, np.int64)
        self._promises = np.zeros(rows, np.int64)
        self._helps = np.zeros(rows, np.bool_)
        self._harm = np.zeros((criteria, rows), np.float64)
        self.found: list[C | Unschedulable | None] = [None] * rows

    def unknown(self, touches: npt.NDArray[np.int64], promises: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """The rows of which nothing is known as they are now."""
        return np.not_equal(self._touches, touches) | np.not_equal(self._promises, promises)

    def refuse(self, row: int, touches: int, promises: int, why: Unschedulable) -> None:
        """Nobody's going helps there."""
        self._learn(row, touches, promises, why)
        self._helps[row] = False

    def offer(self, row: int, touches: int, promises: int, candidate: C, harm: tuple[float, ...]) -> None:
        """These would have to go there; by each criterion, the less the better."""
        self._learn(row, touches, promises, candidate)
        self._helps[row] = True
        self._harm[:, row] = harm

    def helpful(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Where somebody's going helps."""
        return self._helps[rows]

    def least_harmful(self, rows: Rows) -> int:
        """Of rows where it helps the best by the first criterion, among equals by the next; the first of the best."""
        left = rows
        for column in self._harm:
            values = column[left]
            left = left[values == values.min()]
            if len(left) == 1:
                break
        return int(left[0])

    def _learn(self, row: int, touches: int, promises: int, found: C | Unschedulable) -> None:
        self._touches[row] = touches
        self._promises[row] = promises
        self.found[row] = found
