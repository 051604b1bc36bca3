"""An aggregated API server that is away: controllers wait for what it has, and do all else."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from keelback.api import conditions
from keelback.api.apiextensions_v1 import CustomResourceDefinition
from keelback.api.apiregistration_v1 import APIService, APIServiceSpec, ServiceReference
from keelback.api.core_v1 import ConfigMap, Namespace, ResourceQuota, ResourceQuotaSpec, ResourceQuotaStatus
from keelback.apimachinery import codecs
from keelback.apimachinery.meta import Object, ObjectMeta, OwnerReference, replace
from keelback.client import Client
from keelback.controllers.garbage_collector import GarbageCollector
from keelback.controllers.namespaces import NamespaceReconciler
from keelback.controllers.resourcequotas import ResourceQuotaReconciler
from keelback.reconcile.caches import SharedCaches
from keelback.reconcile.context import Context
from keelback.reconcile.discovery import discover
from keelback.reconcile.writer import Writer
from keelback.testing.api import ADMINISTRATOR, api_server
from keelback.testing.clock import HandClock

GROUP = "wardle.example.com"
AWAY = APIService(
    metadata=ObjectMeta(name=f"v1.{GROUP}"),
    spec=APIServiceSpec(
        group=GROUP,
        version="v1",
        group_priority_minimum=1000,
        version_priority=100,
        service=ServiceReference(name="nowhere", namespace="default"),
    ),
)


class _NoEvents:
    async def event(self, obj: Object, type: str, reason: str, message: str, /) -> None:
        return None


class Setting:
    def __init__(self, client: Client) -> None:
        self.client = client
        self.clock = HandClock()
        chance = random.Random(0)
        caches = SharedCaches(client, self.clock, chance)
        self.context = Context(Writer(client), caches, _NoEvents(), self.clock, chance)

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        while True:
            if await holds():
                return
            await asyncio.sleep(0)

    async def until_away(self) -> None:
        """Wait until discovery says that nobody knows."""

        async def is_away() -> bool:
            return (await discover(self.client)).stale == (f"{GROUP}/v1",)

        await self.until(is_away)


@asynccontextmanager
async def setting() -> AsyncIterator[Setting]:
    async with asyncio.timeout(60), api_server() as api:
        yield Setting(api.client(ADMINISTRATOR))


def run(test: Callable[[Setting], Awaitable[None]]) -> None:
    async def main() -> None:
        async with setting() as given:
            await test(given)

    asyncio.run(main())


def test_a_namespace_is_emptied_as_far_as_is_known_and_not_let_go() -> None:
    async def test(given: Setting) -> None:
        client = given.client
        await client.create(AWAY)
        await given.until_away()
        await client.create(Namespace(metadata=ObjectMeta(name="pond")))
        await client.create(ConfigMap(metadata=ObjectMeta(name="one", namespace="pond")))
        await client.delete(Namespace, "pond")
        reconciler = NamespaceReconciler(given.context)
        await reconciler.reconcile(await client.get(Namespace, "pond"))
        assert not (await client.list(ConfigMap, "pond")).items
        found = (await client.get(Namespace, "pond")).status.conditions
        failure = conditions.find(found, "NamespaceDeletionDiscoveryFailure")
        assert failure is not None
        assert (failure.status, failure.reason) == ("True", "DiscoveryFailed")
        assert failure.message == (
            "Discovery failed for some groups, 1 failing: unable to retrieve the complete list of server APIs: "
            f"{GROUP}/v1: stale GroupVersion discovery: {GROUP}/v1"
        )
        await client.delete(APIService, AWAY.metadata.name)

        async def is_whole() -> bool:
            return not (await discover(client)).stale

        await given.until(is_whole)
        await reconciler.reconcile(await client.get(Namespace, "pond"))
        assert "pond" not in [one.metadata.name for one in (await client.list(Namespace)).items]

    run(test)


def test_a_quota_keeps_the_count_of_what_cannot_be_counted() -> None:
    async def test(given: Setting) -> None:
        client = given.client
        await client.create(AWAY)
        await given.until_away()
        hard = {f"count/flunders.{GROUP}": "5", "count/configmaps": "5"}
        made = await client.create(
            ResourceQuota(metadata=ObjectMeta(name="all", namespace="default"), spec=ResourceQuotaSpec(hard=hard))
        )
        status = ResourceQuotaStatus(hard=hard, used={f"count/flunders.{GROUP}": "3", "count/configmaps": "4"})
        made = await client.update(replace(made, status=status), "status")
        await ResourceQuotaReconciler(given.context).reconcile(made)
        used = (await client.get(ResourceQuota, "all", "default")).status.used
        assert used == {f"count/flunders.{GROUP}": "3", "count/configmaps": "0"}

    run(test)


def test_nothing_is_collected_because_its_owner_cannot_be_asked_about() -> None:
    async def test(given: Setting) -> None:
        client = given.client

        async def made(group: str) -> str:
            """The uid of a new Flunder, of a group made for it."""
            await client.create(definition(group))

            async def is_served() -> bool:
                return any(one.kind.group == group for one in (await discover(client)).resources)

            await given.until(is_served)
            body = {"apiVersion": f"{group}/v1", "kind": "Flunder", "metadata": {"name": "owner"}}
            path = f"/apis/{group}/v1/namespaces/default/flunders"
            answer = await client.request("POST", path, body=json.dumps(body).encode())
            return str(json.loads(answer.content())["metadata"]["uid"])

        owner = await made(GROUP)
        reference = OwnerReference(api_version=f"{GROUP}/v1", kind="Flunder", name="owner", uid=owner)
        owned = ObjectMeta(name="owned", namespace="default", owner_references=(reference,))
        await client.create(ConfigMap(metadata=owned))
        collector = GarbageCollector(given.context)
        collecting = asyncio.gather(given.context.caches.run(), collector.run())

        async def sees(uid: str) -> bool:
            await given.clock.pass_time(60)
            return uid in collector.graph.nodes

        await given.until(lambda: sees(owner))
        held = await client.get(APIService, AWAY.metadata.name)
        await client.update(replace(held, spec=AWAY.spec))
        await given.until_away()
        # Who sees what has come since knows by now that the other group is away.
        later = await made("later.example.com")
        await given.until(lambda: sees(later))
        assert owner in collector.graph.nodes
        assert (await client.get(ConfigMap, "owned", "default")).metadata.name == "owned"
        collecting.cancel()
        await asyncio.gather(collecting, return_exceptions=True)

    run(test)


def definition(group: str) -> CustomResourceDefinition:
    """What defines Flunders in a group."""
    names = {"plural": "flunders", "kind": "Flunder"}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
    spec = {"group": group, "scope": "Namespaced", "names": names, "versions": [version]}
    return codecs.convert(CustomResourceDefinition, {"metadata": {"name": f"flunders.{group}"}, "spec": spec})
