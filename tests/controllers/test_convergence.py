"""Whatever goes wrong on the way, the cluster comes to the state it would have come to anyway, and keeps its rules.

Many seeds: bench/convergence.py.
"""

from __future__ import annotations

import pytest

from keelback.testing.convergence import compare, play
from keelback.testing.convergence_work import steps


def test_a_seed_says_the_same_work_each_time() -> None:
    assert steps(5) == steps(5)
    assert steps(5) != steps(6)


@pytest.mark.parametrize("seed", [1])
def test_faults_on_the_way_change_nothing_of_where_it_leads(seed: int) -> None:
    assert compare(seed) is None


def test_a_seed_with_faults_replays_request_by_request() -> None:
    first, second = (play(0, faults=0).recording for _ in range(2))
    assert first.asked == second.asked
    assert [(one.at, one.key) for one in first.writes] == [(one.at, one.key) for one in second.writes]
