"""Random changes, faults and restarts: every placement and preemption is looked at, and nobody is forgotten."""

from __future__ import annotations

import pytest

from keelback.testing import placements


@pytest.mark.parametrize(
    "seed",
    [
        7,  # a victim's deletion fails: the preemptor tries again
        12,  # the answer to a binding is lost: the pod's room is not given to another
        18,
        197,  # two pods preempt the same victim: both are tried when it is gone
        237,  # a victim's deletion meets a conflict, and the victim stays
        23,
        303,  # two preempt on one node at once, each for itself: the other's victims have not gone yet
        313,  # a victim's deletion fails and a budget protects it by then: another pod goes instead
    ],
)
def test_no_node_is_over_committed_no_rule_broken_nobody_preempted_in_vain_and_nobody_forgotten(seed: int) -> None:
    assert placements.play(seed) == []
