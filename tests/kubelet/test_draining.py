"""A pod of a Service is asked to stop once the Services have let go of it; any other at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace as with_fields

import pytest

from keelback.api.core_v1 import Container, Lifecycle, LifecycleHandler, Service, ServiceSpec, SleepAction
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.kubelet.draining import services_of


class Endpoints:
    """Says that the pod has left when a test says so."""

    def __init__(self, knows=True):
        self.asked = []
        self.left = asyncio.Event()
        self.knows = knows

    async def wait_left(self, uid, services):
        self.asked.append((uid, tuple(services)))
        if self.knows:
            await self.left.wait()
        return self.knows


def service(name="web", *, labels=None, **spec):
    spec = {"cluster_ip": "10.96.0.20", "selector": {"app": "web"}} | spec
    return Service(metadata=ObjectMeta(name=name, namespace="default", labels=labels or {}), spec=ServiceSpec(**spec))


def labelled(pod):
    return replace(pod, metadata=replace(pod.metadata, labels={"app": "web"}))


async def serving(world, make_pod, endpoints, services, *containers):
    """A Ready pod as the API knows it."""
    world.node = with_fields(world.node, endpoints=endpoints, services=lambda: services)
    worker = world.work(labelled(make_pod(*containers)))
    await world.until(world.is_ready)
    worker.update(replace(worker.pod, status=world.status))
    return worker


async def turns(world, seconds=0.0):
    for _ in range(20):
        await asyncio.sleep(0)
    world.clock.advance(seconds)


def test_a_pod_runs_until_its_services_have_let_go_of_it(scenario, make_pod):
    async def body(world):
        endpoints = Endpoints()
        worker = await serving(world, make_pod, endpoints, [service()])
        world.delete(worker)
        await world.until(lambda: endpoints.asked)
        await turns(world, 5)
        assert world.runtime.running() == ["web"]
        endpoints.left.set()
        await world.until(lambda: world.removed, advance=0.5)
        assert endpoints.asked == [("uid-web", (("default", "web"),))]

    scenario(body)


@pytest.mark.parametrize("services", [[], [service(selector={"app": "other"})], [service(cluster_ip="None")]])
def test_a_pod_without_a_service_stops_at_once(scenario, make_pod, services):
    async def body(world):
        endpoints = Endpoints()
        worker = await serving(world, make_pod, endpoints, services)
        world.delete(worker)
        # No time passes: the container ends at the signal.
        await world.until(lambda: world.removed)
        assert not endpoints.asked

    scenario(body)


def test_without_grace_nothing_is_waited_for(scenario, make_pod):
    async def body(world):
        endpoints = Endpoints()
        worker = await serving(world, make_pod, endpoints, [service()])
        world.delete(worker)
        await world.until(lambda: endpoints.asked)
        world.delete(worker, grace=0)
        await world.until(lambda: world.removed)

    scenario(body)


def test_the_pre_stop_hook_runs_meanwhile(scenario, make_pod):
    async def body(world):
        endpoints = Endpoints()
        hook = Lifecycle(pre_stop=LifecycleHandler(sleep=SleepAction(seconds=4)))
        container = Container(name="web", image="web:1", lifecycle=hook)
        worker = await serving(world, make_pod, endpoints, [service()], container)
        world.delete(worker)
        await world.until(lambda: endpoints.asked)
        began = world.clock.monotonic()
        endpoints.left.set()
        await world.until(lambda: not world.runtime.running(), advance=0.25)
        assert 4 <= world.clock.monotonic() - began < 6

    scenario(body)


def test_where_nobody_knows_it_waits_for_a_second(scenario, make_pod):
    async def body(world):
        endpoints = Endpoints(knows=False)
        worker = await serving(world, make_pod, endpoints, [service()])
        config = with_fields(world.node.config, endpoint_drain_seconds=1.0)
        worker._node = with_fields(world.node, config=config)
        world.delete(worker)
        await world.until(lambda: world.removed, advance=0.25)
        assert len(endpoints.asked) == 1

    scenario(body)


def test_only_services_that_the_rules_carry_count(make_pod):
    pod = labelled(make_pod())
    named = [
        service("plain"),
        service("elsewhere", labels={"service.kubernetes.io/service-proxy-name": "mesh"}),
        service("alias", type="ExternalName", cluster_ip=""),
        service("by-hand", selector={}),
        service("other", selector={"app": "web", "tier": "back"}),
    ]
    assert services_of(pod, named) == [("default", "plain")]
