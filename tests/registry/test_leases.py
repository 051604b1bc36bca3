"""Leases: what belongs to a feature that is off is not kept."""

from __future__ import annotations

from keelback.api.coordination_v1 import Lease, LeaseSpec
from keelback.registry.leases import LeaseStrategy

STRATEGY = LeaseStrategy()
PLAIN = Lease(spec=LeaseSpec(holder_identity="a"))
COORDINATED = Lease(spec=LeaseSpec(holder_identity="a", strategy="OldestEmulationVersion", preferred_holder="b"))


def test_coordinated_leader_election_is_off() -> None:
    assert STRATEGY.prepare_for_create(COORDINATED) == PLAIN
    assert STRATEGY.prepare_for_update(COORDINATED, PLAIN) == PLAIN
    assert STRATEGY.prepare_for_update(COORDINATED, COORDINATED) == COORDINATED
    assert STRATEGY.prepare_for_create(PLAIN) is PLAIN
