"""Resources with an etcd of their own: two real ones, and two servers over both."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest

from keelback.api import coordination_v1, core_v1, events_v1
from keelback.api.core_v1 import ConfigMap, Event, ObjectReference
from keelback.apimachinery import errors
from keelback.apimachinery.configuration_files import ConfigurationError
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.apiserver.assembly import RunningAPIServer
from keelback.client import Client
from keelback.component.http import Request, Response
from keelback.concurrency.clock import SystemClock
from keelback.storage import etcd, memory
from keelback.storage.etcd_keys import KeySpace
from keelback.storage.protocol import Store
from keelback.testing import etcd as testing_etcd
from keelback.testing.api import ADMINISTRATOR, api_server
from keelback.testing.etcd import EtcdCluster

needs_etcd = pytest.mark.skipif(not testing_etcd.is_installed(), reason="etcd is not installed")


@dataclass(frozen=True)
class World:
    """Two servers, and the two stores they have: `events` are in the other."""

    servers: Sequence[RunningAPIServer]
    main: Store
    other: Store

    @property
    def clients(self) -> list[Client]:
        return [server.client(ADMINISTRATOR) for server in self.servers]


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sequence[EtcdCluster]]:
    made = [EtcdCluster(tmp_path_factory.mktemp(name)) for name in ("main", "other")]
    try:
        for one in made:
            asyncio.run(one.begin())
        yield made
    finally:
        for one in made:
            one.stop()


Run = Callable[[Callable[[World], Awaitable[None]]], None]


@pytest.fixture
def run(clusters: Sequence[EtcdCluster], request: pytest.FixtureRequest) -> Run:
    keys = KeySpace(outside=f"/{request.node.name}")

    @asynccontextmanager
    async def world() -> AsyncIterator[World]:
        async with AsyncExitStack() as stack:

            async def opened(cluster: EtcdCluster) -> Store:
                store = await etcd.open_store(cluster.servers, SystemClock(), keys=keys)
                stack.push_async_callback(store.close)
                return store

            async def begin(number: int) -> RunningAPIServer:
                store = await etcd.open_store(clusters[0].servers, SystemClock(), keys=keys)
                elsewhere = await opened(clusters[1])
                decided = {"store_overrides": {("", "events"): elsewhere, ("coordination.k8s.io", "leases"): elsewhere}}
                endpoint = (f"10.89.0.{number}", 6443)
                return await stack.enter_async_context(
                    api_server(store=store, seed=number, store_is_shared=True, endpoint=endpoint, decided=decided)
                )

            main, other = [await opened(one) for one in clusters]
            yield World([await begin(1), await begin(2)], main, other)

    def run_test(test: Callable[[World], Awaitable[None]]) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(60), world() as made:
                await test(made)

        asyncio.run(bounded())

    return run_test


def event(name: str) -> Event:
    about = ObjectReference(kind="Pod", namespace="default", name="p", api_version="v1")
    return Event(metadata=ObjectMeta(name=name, namespace="default"), involved_object=about, reason="R", message="m")


@needs_etcd
def test_they_are_kept_there_and_nothing_else_is(run: Run) -> None:
    async def test(world: World) -> None:
        first, second = world.clients
        await first.create(event("e"))
        await first.create(ConfigMap(metadata=ObjectMeta(name="m", namespace="default")))
        lease = coordination_v1.Lease(metadata=ObjectMeta(name="l", namespace="default"))
        await first.create(lease)
        keys = {one.key for one in (await world.other.range("/registry/")).kvs}
        assert {"/registry/events/default/e", "/registry/leases/default/l"} <= keys
        assert {key.split("/")[2] for key in keys} == {"events", "leases"}
        mains = {one.key for one in (await world.main.range("/registry/")).kvs}
        assert "/registry/configmaps/default/m" in mains
        assert not {key for key in mains if key.startswith(("/registry/events/", "/registry/leases/"))}
        # Both groups of events are one resource, wherever it is.
        assert (await second.get(events_v1.Event, "e", "default")).reason == "R"

    run(test)


@needs_etcd
def test_reads_are_fresh_and_versions_those_of_its_store(run: Run) -> None:
    async def test(world: World) -> None:
        first, second = world.clients
        for number in range(30):
            made = await first.create(event(f"e-{number}"))
            assert await second.get(Event, f"e-{number}", "default") == made
            listed = await second.list(Event, "default")
            assert made in (listed.items or ())
            assert listed.resource_version == str(await world.other.current_revision())
            # What the main store is written meanwhile moves nothing here.
            await second.create(ConfigMap(metadata=ObjectMeta(name=f"m-{number}", namespace="default")))
        page = await first.list(Event, "default", limit=5)
        shown = {one.metadata.name for one in page.items or ()}
        made = next(one for one in listed.items or () if one.metadata.name not in shown)
        changed = await first.update(replace(made, message="other"))
        with pytest.raises(errors.Conflict):
            await second.update(made)
        # A list that was begun goes on as it was, at the other server too.
        rest = await second.list(Event, "default", continue_=page.continue_)
        assert made in (rest.items or ())
        assert changed not in (rest.items or ())
        assert len(shown) + len(rest.items or ()) == 30

    run(test)


@needs_etcd
def test_a_watch_hears_all_of_it_from_either_server(run: Run) -> None:
    async def test(world: World) -> None:
        first, second = world.clients
        since = (await first.list(Event, "default")).resource_version
        for number in range(20):
            await (first, second)[number % 2].create(event(f"e-{number}"))
        await first.delete(Event, "e-3", "default")
        seen = []
        async for change in second.watch(Event, "default", resource_version=since):
            seen.append((change.type, change.object.metadata.name))
            if len(seen) == 21:
                break
        assert seen == [*(("ADDED", f"e-{number}") for number in range(20)), ("DELETED", "e-3")]

    run(test)


@needs_etcd
def test_its_health_is_told_by_its_name_and_all_else_goes_on_without_it(
    run: Run, clusters: Sequence[EtcdCluster]
) -> None:
    async def told(server: RunningAPIServer, path: str) -> str:
        answer = await server.handle(Request("GET", path, "verbose", identity=ADMINISTRATOR))
        assert isinstance(answer, Response)
        return answer.content().decode()

    async def test(world: World) -> None:
        server, client = world.servers[0], world.clients[0]
        for name in ("etcd", "etcd-override-0", "etcd-override-1", "etcd-override-readiness-0"):
            assert f"[+]{name} ok" in await told(server, "/readyz")
        member = clusters[1].members[0]
        member.send(signal.SIGSTOP)
        try:
            assert "internal server error" in await told(server, "/livez/etcd-override-0")
            made = ConfigMap(metadata=ObjectMeta(name="m", namespace="default"))
            await client.create(made)
            assert (await world.clients[1].get(ConfigMap, "m", "default")).metadata.name == "m"
        finally:
            member.send(signal.SIGCONT)

    run(test)


def test_what_there_is_not_cannot_be_elsewhere() -> None:
    async def main() -> None:
        other = memory.open_store(SystemClock())
        async with other, api_server(decided={"store_overrides": {("apps", "pods"): other}}):
            raise AssertionError("it has started")

    with pytest.raises(ConfigurationError, match="there is no built-in resource apps/pods"):
        asyncio.run(main())


def test_a_server_without_etcd_may_have_places_too() -> None:
    """As far as the server is concerned it is a store like any other: the flags alone want an etcd."""

    async def main() -> None:
        other = memory.open_store(SystemClock())
        async with other, api_server(decided={"store_overrides": {("", "secrets"): other}}) as api:
            client = api.client(ADMINISTRATOR)
            await client.create(core_v1.Secret(metadata=ObjectMeta(name="s", namespace="default")))
            assert [one.key for one in (await other.range("")).kvs] == ["/registry/secrets/default/s"]
            assert [one.metadata.name for one in (await client.list(core_v1.Secret, "default")).items or ()] == ["s"]

    asyncio.run(main())
