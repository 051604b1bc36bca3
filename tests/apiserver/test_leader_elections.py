"""Who leads of several candidates, and how that is found out."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keelback.api.coordination_v1 import Lease, LeaseSpec
from keelback.api.coordination_v1beta1 import LeaseCandidate, LeaseCandidateSpec
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.apiserver import leader_elections
from keelback.apiserver.leader_elections import Ask, Write
from keelback.client import Client
from keelback.reconcile.leader_election import micro_time
from keelback.testing.api import ADMINISTRATOR, api_server
from keelback.testing.clock import HandClock

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
OLDEST = "OldestEmulationVersion"


def ago(seconds: float) -> str:
    return micro_time(NOW - timedelta(seconds=seconds))


def candidate(name: str, emulated: str = "1.36", own: str = "1.36", *, heard: float = 1, **more: Any) -> LeaseCandidate:
    spec = LeaseCandidateSpec(
        lease_name="l", binary_version=own, emulation_version=emulated, renew_time=ago(heard), strategy=OLDEST
    )
    return LeaseCandidate(
        metadata=ObjectMeta(name=name, namespace="n", creation_timestamp=NOW), spec=replace(spec, **more)
    )


def held_by(name: str, *, renewed: float = 1, **more: Any) -> Lease:
    spec = LeaseSpec(holder_identity=name, lease_duration_seconds=5, renew_time=ago(renewed), strategy=OLDEST)
    return Lease(metadata=ObjectMeta(name="l", namespace="n", resource_version="7"), spec=replace(spec, **more))


def plan(lease: Lease | None, *candidates: LeaseCandidate) -> leader_elections.Plan:
    return leader_elections.plan("l", "n", lease, candidates, NOW)


def written(step: leader_elections.Plan) -> LeaseSpec:
    assert isinstance(step, Write)
    return step.lease.spec


@pytest.mark.parametrize(
    ("candidates", "best"),
    [
        ((candidate("a", "1.36"), candidate("b", "1.35"), candidate("c", "1.36")), "b"),
        ((candidate("a", own="1.37"), candidate("b", own="1.36.2"), candidate("c", own="1.36.10")), "b"),
        ((candidate("b"), candidate("a")), "a"),
        ((candidate("a", emulated="odd"), candidate("b", "1.37")), "b"),
    ],
)
def test_the_oldest_version_leads(candidates: tuple[LeaseCandidate, ...], best: str) -> None:
    assert written(plan(None, *candidates)) == LeaseSpec(
        holder_identity=best, lease_duration_seconds=5, renew_time=micro_time(NOW), strategy=OLDEST
    )


def test_candidates_are_asked_first_and_waited_for() -> None:
    silent, there = candidate("a", heard=60), candidate("b", "1.37")
    assert plan(None, silent, there) == Ask((silent,))
    asked = candidate("a", heard=60, ping_time=ago(2))
    assert plan(None, asked, there) is None
    # Who does not answer does not lead, and is not asked again.
    absent = candidate("a", heard=60, ping_time=ago(6))
    assert written(plan(None, absent, there)).holder_identity == "b"
    assert plan(None, absent) is None
    answered = candidate("a", heard=1, ping_time=ago(2))
    assert written(plan(None, answered, there)).holder_identity == "a"


def test_while_the_best_leads_nothing_is_done() -> None:
    assert plan(held_by("a"), candidate("a", heard=60), candidate("b", "1.37", heard=60)) is None
    # But once in a quarter of an hour candidates are asked.
    old = candidate("b", "1.37", heard=16 * 60)
    assert plan(held_by("a"), candidate("a"), old) == Ask((old,))
    gone = candidate("b", "1.35", heard=31 * 60)
    assert plan(held_by("a"), candidate("a"), gone) is None
    assert leader_elections.is_gone(gone, NOW)


def test_a_leader_that_is_not_the_best_is_asked_to_end_its_term() -> None:
    spec = written(plan(held_by("a"), candidate("a", "1.36"), candidate("b", "1.35")))
    assert (spec.holder_identity, spec.preferred_holder) == ("a", "b")
    over = held_by("a", renewed=6, preferred_holder="b", acquire_time=ago(9), lease_transitions=3)
    assert written(plan(over, candidate("a", "1.36"), candidate("b", "1.35"))) == LeaseSpec(
        holder_identity="b",
        lease_duration_seconds=5,
        lease_transitions=3,
        renew_time=micro_time(NOW),
        strategy=OLDEST,
    )


def test_the_strategy_is_that_of_the_newest() -> None:
    other = candidate("b", own="1.37", strategy="example.com/mine")
    spec = written(plan(None, candidate("a"), other))
    assert (spec.strategy, spec.holder_identity) == ("example.com/mine", None)
    # The newest disagree: nobody knows.
    assert plan(None, candidate("a", own="1.37"), other) is None


def test_a_server_holds_elections_where_it_is_told_to() -> None:
    async def main() -> None:
        clock = HandClock()
        async with (
            asyncio.timeout(30),
            api_server(
                clock,
                optional_versions=(("coordination.k8s.io", "v1beta1"),),
                feature_gates={"CoordinatedLeaderElection": True},
            ) as server,
        ):
            client = server.client(ADMINISTRATOR)
            now = micro_time(clock.now())
            for name, version in (("old", "1.35.0"), ("new", "1.36.0")):
                spec = candidate(name, version, version, renew_time=now).spec
                made = LeaseCandidate(metadata=ObjectMeta(name=name, namespace="default"), spec=spec)
                await client.create(made)
            assert await holder(client, clock) == "old"
            # What is never heard of again is no candidate.
            await clock.pass_time(31 * 60)
            await clock.pass_time(2)
            assert not (await client.list(LeaseCandidate, "default")).items

    asyncio.run(main())


async def holder(client: Client, clock: HandClock) -> str:
    await clock.pass_time(2)
    return (await client.get(Lease, "l", "default")).spec.holder_identity or ""
