"""The kept rows of the greatest rank against looking for them each time."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from keelback.scheduling.best_rows import NOWHERE, BestRows


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32))
def test_whatever_changes_the_row_is_one_of_the_best(seed: int) -> None:
    chance = random.Random(seed)
    ranks = np.array([chance.randint(0, 3) for _ in range(chance.randint(1, 12))], np.int64)
    best = BestRows(ranks)
    for _ in range(40):
        row = chance.randrange(len(ranks))
        ranks[row] = rank = chance.choice((NOWHERE, 0, 1, 2, 3))
        best.changed(row, rank)
        found = best.one(chance)
        if found is None:
            assert ranks.max() == NOWHERE
        else:
            assert ranks[found] == ranks.max()


def test_each_of_the_best_is_as_likely_as_the_others() -> None:
    ranks = np.full(8, 5, np.int64)
    best, chance = BestRows(ranks), random.Random(1)
    for row, rank in ((0, 4), (1, 4), (1, 5), (2, NOWHERE)):
        ranks[row] = rank
        best.changed(row, rank)
    found = Counter(best.one(chance) for _ in range(6000))
    assert set(found) == {1, 3, 4, 5, 6, 7}
    assert max(found.values()) < 1.25 * min(found.values())
