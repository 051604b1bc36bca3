"""Several servers over one etcd are one server: whoever was answered by one may ask another next."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack

import pytest

from keelback.api.apiextensions_v1 import CustomResourceDefinition
from keelback.api.core_v1 import (
    ConfigMap,
    Endpoints,
    Namespace,
    ResourceQuota,
    ResourceQuotaSpec,
    Service,
    ServicePort,
    ServiceSpec,
)
from keelback.api.discovery_v1 import EndpointSlice
from keelback.api.networking_v1 import IPAddress
from keelback.api.rbac_v1 import ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject
from keelback.apimachinery import codecs, errors
from keelback.apimachinery.meta import Kind, ObjectMeta, replace
from keelback.apimachinery.unstructured import class_of
from keelback.apiserver.assembly import RunningAPIServer
from keelback.auth.users import UserInfo
from keelback.client import Client
from keelback.concurrency.clock import SystemClock
from keelback.storage import etcd
from keelback.storage.etcd_keys import KeySpace
from keelback.testing import etcd as testing_etcd
from keelback.testing.api import ADMINISTRATOR, api_server
from keelback.testing.etcd import EtcdCluster

SERVERS = 3

pytestmark = pytest.mark.skipif(not testing_etcd.is_installed(), reason="etcd is not installed")

Test = Callable[[Sequence[RunningAPIServer]], Awaitable[None]]


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    cluster = EtcdCluster(tmp_path_factory.mktemp("shared"))
    try:
        asyncio.run(cluster.begin())
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def on_servers(members: EtcdCluster, request: pytest.FixtureRequest) -> Callable[[Test], None]:
    """Runs a test on servers that started at the same time over a store that was empty."""

    def run(test: Test) -> None:
        async def main() -> None:
            async with asyncio.timeout(60), AsyncExitStack() as running:
                keys = KeySpace(outside=f"/{request.node.name}")

                async def begin(number: int) -> RunningAPIServer:
                    store = await etcd.open_store(members.servers, SystemClock(), keys=keys)
                    endpoint = (f"10.89.0.{number}", 6443)
                    server = api_server(store=store, seed=number, store_is_shared=True, endpoint=endpoint)
                    return await running.enter_async_context(server)

                await test(await asyncio.gather(*(begin(number + 1) for number in range(SERVERS))))

        asyncio.run(main())

    return run


def clients(servers: Sequence[RunningAPIServer], user: UserInfo = ADMINISTRATOR) -> list[Client]:
    return [server.client(user) for server in servers]


def config_map(name: str, namespace: str = "default") -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace=namespace), data={"a": "b"})


def test_each_reads_what_another_has_written(on_servers: Callable[[Test], None]) -> None:
    async def test(servers: Sequence[RunningAPIServer]) -> None:
        chance = random.Random(5)
        asked = clients(servers)
        for number in range(60):
            writer, reader = chance.sample(asked, 2)
            made = await writer.create(config_map(f"m-{number}"))
            assert await reader.get(ConfigMap, f"m-{number}", "default") == made
            listed = await chance.choice(asked).list(ConfigMap, "default")
            assert made in (listed.items or ())
            assert int(listed.resource_version) >= int(made.metadata.resource_version)
            changed = await reader.update(replace(made, data={"a": "c"}))
            with pytest.raises(errors.Conflict):
                await writer.update(made)
            exact = await writer.list(ConfigMap, "default", resource_version=changed.metadata.resource_version)
            assert changed in (exact.items or ())

    on_servers(test)


def test_a_watch_goes_on_at_another_server_where_it_ended_at_the_first(on_servers: Callable[[Test], None]) -> None:
    async def test(servers: Sequence[RunningAPIServer]) -> None:
        asked = clients(servers)
        seen: list[str] = []
        since = (await asked[0].list(ConfigMap, "default")).resource_version
        for number in range(30):
            await asked[number % SERVERS].create(config_map(f"w-{number:02}"))
            if number % 3 == 2:
                wanted = number + 1
                stream = asked[(number // 3) % SERVERS].watch(ConfigMap, "default", resource_version=since)
                async for event in stream:
                    if event.type == "ADDED":
                        seen.append(event.object.metadata.name)
                    since = event.object.metadata.resource_version
                    if len(seen) == wanted:
                        break
                await stream.aclose()
        assert seen == [f"w-{number:02}" for number in range(30)]

    on_servers(test)


def test_admission_and_authorization_know_what_another_server_was_told(on_servers: Callable[[Test], None]) -> None:
    async def test(servers: Sequence[RunningAPIServer]) -> None:
        asked = clients(servers)
        for number in range(12):
            first, second, third = (asked[(number + at) % SERVERS] for at in range(SERVERS))
            await first.create(Namespace(metadata=ObjectMeta(name=f"n-{number}")))
            await second.create(config_map("m", f"n-{number}"))
            jane = UserInfo(f"jane-{number}", groups=("system:authenticated",))
            readers = clients(servers, jane)
            with pytest.raises(errors.Forbidden):
                await readers[number % SERVERS].get(ConfigMap, "m", f"n-{number}")
            rule = PolicyRule(api_groups=("",), resources=("configmaps",), verbs=("get",))
            await second.create(ClusterRole(metadata=ObjectMeta(name=f"r-{number}"), rules=(rule,)))
            await third.create(
                ClusterRoleBinding(
                    metadata=ObjectMeta(name=f"r-{number}"),
                    role_ref=RoleRef(api_group="rbac.authorization.k8s.io", kind="ClusterRole", name=f"r-{number}"),
                    subjects=(Subject(api_group="rbac.authorization.k8s.io", kind="User", name=jane.name),),
                )
            )
            await readers[number % SERVERS].get(ConfigMap, "m", f"n-{number}")

    on_servers(test)


def test_a_custom_resource_is_served_by_all_once_it_is_established(on_servers: Callable[[Test], None]) -> None:
    async def test(servers: Sequence[RunningAPIServer]) -> None:
        asked = clients(servers)
        for number in range(6):
            first, second, third = (asked[(number + at) % SERVERS] for at in range(SERVERS))
            plural = f"things{number}"
            await first.create(_definition(plural))
            await _established(first, f"{plural}.x.example.com")
            kind = class_of(Kind("x.example.com", "v1", f"Thing{number}", plural, plural, namespaced=True))
            thing = kind(metadata=ObjectMeta(name="a", namespace="default"))
            made = await second.create(thing)
            assert await third.get(kind, "a", "default") == made

    on_servers(test)


def test_no_two_services_get_the_same_address_or_port(on_servers: Callable[[Test], None]) -> None:
    async def test(servers: Sequence[RunningAPIServer]) -> None:
        asked = clients(servers)

        async def create(number: int) -> Service:
            spec = ServiceSpec(type="NodePort", ports=(ServicePort(port=80),))
            return await asked[number % SERVERS].create(
                Service(metadata=ObjectMeta(name=f"s-{number}", namespace="default"), spec=spec)
            )

        made = await asyncio.gather(*(create(number) for number in range(60)))
        assert len({one.spec.cluster_ip for one in made}) == 60
        assert len({one.spec.ports[0].node_port for one in made}) == 60

        async def ask_for(number: int) -> int:
            spec = ServiceSpec(type="NodePort", ports=(ServicePort(port=80, node_port=30000 + number // SERVERS),))
            try:
                await asked[number % SERVERS].create(
                    Service(metadata=ObjectMeta(name=f"t-{number}", namespace="default"), spec=spec)
                )
            except errors.Invalid:
                return 0
            return 1

        assert sum(await asyncio.gather(*(ask_for(number) for number in range(10 * SERVERS)))) == 10
        # What was given is free again as soon as the Service is gone, whichever server hears of it.
        await asked[0].delete(Service, "s-0", "default")
        port = made[0].spec.ports[0].node_port
        spec = ServiceSpec(
            type="NodePort", cluster_ip=made[0].spec.cluster_ip, ports=(ServicePort(port=80, node_port=port),)
        )
        await asked[1].create(Service(metadata=ObjectMeta(name="again", namespace="default"), spec=spec))
        addresses = {one.metadata.name for one in (await asked[2].list(IPAddress)).items}
        services = {one.spec.cluster_ip for one in (await asked[2].list(Service)).items}
        assert addresses == services

    on_servers(test)


def test_a_quota_is_one_for_all_servers(on_servers: Callable[[Test], None]) -> None:
    async def test(servers: Sequence[RunningAPIServer]) -> None:
        asked = clients(servers)
        quota = ResourceQuota(
            metadata=ObjectMeta(name="q", namespace="default"), spec=ResourceQuotaSpec(hard={"configmaps": "20"})
        )
        made = await asked[0].create(quota)
        status = replace(made.status, hard={"configmaps": "20"}, used={"configmaps": "0"})
        await asked[0].update(replace(made, status=status), subresource="status")

        async def create(number: int) -> int:
            try:
                await asked[number % SERVERS].create(config_map(f"m-{number}"))
            except errors.Forbidden:
                return 0
            return 1

        assert sum(await asyncio.gather(*(create(number) for number in range(40)))) == 20

    on_servers(test)


def test_the_kubernetes_service_has_the_servers_that_live(on_servers: Callable[[Test], None]) -> None:
    async def test(servers: Sequence[RunningAPIServer]) -> None:
        asked = clients(servers)
        assert await _addresses(asked[0]) == ["10.89.0.1", "10.89.0.2", "10.89.0.3"]
        await servers[1].close()
        assert await _addresses(asked[2]) == ["10.89.0.1", "10.89.0.3"]

    on_servers(test)


async def _addresses(client: Client) -> list[str]:
    endpoints = await client.get(Endpoints, "kubernetes", "default")
    slice_ = await client.get(EndpointSlice, "kubernetes", "default")
    found = [one.ip for subset in endpoints.subsets for one in subset.addresses]
    assert [address for one in slice_.endpoints for address in one.addresses] == found
    return found


def _definition(plural: str) -> CustomResourceDefinition:
    kind = plural.removesuffix("s").title()
    return codecs.convert(
        CustomResourceDefinition,
        {
            "metadata": {"name": f"{plural}.x.example.com"},
            "spec": {
                "group": "x.example.com",
                "scope": "Namespaced",
                "names": {"plural": plural, "kind": plural.replace("things", "Thing"), "singular": kind.lower()},
                "versions": [
                    {
                        "name": "v1",
                        "served": True,
                        "storage": True,
                        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                    }
                ],
            },
        },
    )


async def _established(client: Client, name: str) -> None:
    async for event in client.watch(CustomResourceDefinition, resource_version="0"):
        if event.object.metadata.name == name and any(
            one.type == "Established" and one.status == "True" for one in event.object.status.conditions or ()
        ):
            return
