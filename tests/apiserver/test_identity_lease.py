"""A server that lives says so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from keelback.api.coordination_v1 import Lease, LeaseSpec
from keelback.apimachinery.meta import ObjectMeta, replace, with_metadata
from keelback.apiserver import identity_lease
from keelback.apiserver.identity_lease import lease_name
from keelback.client import Client
from keelback.reconcile.leader_election import micro_time
from keelback.testing.api import ADMINISTRATOR, api_server
from keelback.testing.clock import HandClock

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAME = lease_name("localhost")


def on_a_server(test: Callable[[HandClock, Client], Awaitable[None]]) -> None:
    async def main() -> None:
        clock = HandClock()
        async with asyncio.timeout(30), api_server(clock, hostname="localhost") as server:
            await test(clock, server.client(ADMINISTRATOR))

    asyncio.run(main())


def test_the_name_is_that_of_the_host() -> None:
    # The base32 of the first 16 bytes of the name's SHA-256, as upstream's.
    assert NAME == "apiserver-jgla3zmib2ggq5buc4hwi5talm"
    assert lease_name("other") != NAME


def test_it_is_there_from_the_start_and_renewed() -> None:
    async def test(clock: HandClock, client: Client) -> None:
        lease = await client.get(Lease, NAME, "kube-system")
        assert lease.metadata.labels == {
            "apiserver.kubernetes.io/identity": "kube-apiserver",
            "kubernetes.io/hostname": "localhost",
        }
        assert lease.spec.holder_identity is not None
        assert lease.spec.holder_identity.startswith(f"{NAME}_")
        assert lease.spec.lease_duration_seconds == 3600
        assert lease.spec.renew_time == micro_time(clock.now())
        await clock.pass_time(10)
        renewed = await client.get(Lease, NAME, "kube-system")
        assert renewed.spec.renew_time == micro_time(clock.now())
        assert renewed.spec.holder_identity == lease.spec.holder_identity

    on_a_server(test)


def test_it_is_made_again_and_keeps_what_others_wrote() -> None:
    async def test(clock: HandClock, client: Client) -> None:
        await client.delete(Lease, NAME, "kube-system")
        await clock.pass_time(10)
        lease = await client.get(Lease, NAME, "kube-system")
        spec = replace(lease.spec, lease_duration_seconds=5)
        await client.update(replace(with_metadata(lease, annotations={"note": "mine"}, labels={}), spec=spec))
        await clock.pass_time(10)
        again = await client.get(Lease, NAME, "kube-system")
        assert again.metadata.annotations == {"note": "mine"}
        assert again.metadata.labels == lease.metadata.labels
        assert again.spec.lease_duration_seconds == 3600

    on_a_server(test)


def test_a_server_that_starts_again_takes_it_over() -> None:
    first = identity_lease.plan(None, "a", "first", NOW)
    second = identity_lease.plan(first, "a", "second", NOW + timedelta(seconds=1))
    assert second.metadata == first.metadata
    assert second.spec.holder_identity == "second"


def test_the_leases_of_servers_that_are_no_more_are_deleted() -> None:
    async def test(clock: HandClock, client: Client) -> None:
        for name, age, label in (
            ("gone", 3_601, "kube-apiserver"),
            ("new", 3_599, "kube-apiserver"),
            ("other", 9_999, "x"),
        ):
            lease = Lease(
                metadata=ObjectMeta(name=name, namespace="kube-system", labels={identity_lease.IDENTITY_LABEL: label}),
                spec=LeaseSpec(
                    holder_identity="a",
                    lease_duration_seconds=3_600,
                    renew_time=micro_time(clock.now() - timedelta(seconds=age)),
                ),
            )
            await client.create(lease)
        await identity_lease.IdentityLease(client, clock, "localhost", "me").collect()
        left = {one.metadata.name for one in (await client.list(Lease, "kube-system")).items or ()}
        assert left == {"new", "other", NAME}

    on_a_server(test)
