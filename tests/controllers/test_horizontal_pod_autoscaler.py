"""The autoscaler on a whole simulated cluster, in virtual time: real API server, scheduler, nodes and metrics API."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from keelback.api.apiextensions_v1 import CustomResourceDefinition
from keelback.api.apps_v1 import Deployment
from keelback.api.autoscaling_v1 import HorizontalPodAutoscaler as V1Autoscaler
from keelback.api.autoscaling_v2 import HorizontalPodAutoscaler
from keelback.api.core_v1 import Event, Namespace, Pod
from keelback.apimachinery import codecs
from keelback.apimachinery.meta import ObjectMeta
from keelback.apiserver.assembly import RunningAPIServer
from keelback.apiserver.extensions import Extension
from keelback.auth import users
from keelback.auth.users import AUTHENTICATED_GROUP, UserInfo
from keelback.client import Client, StrategicMergePatch
from keelback.component.http import Request, Response, query_values
from keelback.controllers import manager
from keelback.controllers.config import Config
from keelback.metrics import access, answers
from keelback.metrics.server import ResourceMetrics
from keelback.scheduler import run as scheduler
from keelback.scheduler.config import SchedulerConfig
from keelback.simulation import fleets
from keelback.simulation.usage import CPU_USAGE
from keelback.testing.api import ADMINISTRATOR, api_server
from keelback.testing.clock import HandClock

NAMES = (
    "deployment-controller",
    "replicaset-controller",
    "node-lifecycle-controller",
    "horizontal-pod-autoscaler-controller",
)


class Cluster:
    def __init__(self, server: RunningAPIServer, clock: HandClock) -> None:
        self.server = server
        self.clock = clock
        self.client: Client = server.client(ADMINISTRATOR, "test")

    def account(self, name: str) -> Client:
        groups = (*users.service_account_groups("kube-system"), AUTHENTICATED_GROUP)
        return self.server.client(UserInfo(users.service_account_user_name("kube-system", name), groups=groups), name)

    async def deploy(self, name: str = "web", replicas: int = 1, *, requests: str = "100m") -> None:
        tree = {
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {
                        "containers": [
                            {"name": "app", "image": "example", "resources": {"requests": {"cpu": requests}}}
                        ]
                    },
                },
            },
        }
        await self.client.create(codecs.convert(Deployment, tree))

    async def autoscale(self, target: str = "web", most: int = 5, name: str = "", **spec: Any) -> None:
        tree = {
            "metadata": {"name": name or target, "namespace": "shop"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
                "maxReplicas": most,
                **spec,
            },
        }
        await self.client.create(codecs.convert(HorizontalPodAutoscaler, tree))

    async def use(self, amount: str, target: str = "web") -> None:
        """Every pod that there is uses so much from now on."""
        patch = StrategicMergePatch({"metadata": {"annotations": {CPU_USAGE: amount}}})
        for pod in (await self.client.list(Pod, "shop", label_selector=f"app={target}")).items:
            await self.client.patch(Pod, pod.metadata.name, "shop", patch)

    async def replicas(self, name: str = "web") -> int:
        return (await self.client.get(Deployment, name, "shop")).spec.replicas

    async def conditions(self, name: str = "web") -> dict[str, tuple[str, str, str]]:
        found = await self.client.get(HorizontalPodAutoscaler, name, "shop")
        return {one.type: (one.status, one.reason, one.message) for one in found.status.conditions}

    async def events(self) -> list[tuple[str, str]]:
        listed = (await self.client.list(Event, "shop")).items
        return [
            (one.reason, one.message) for one in listed if one.involved_object.kind == HorizontalPodAutoscaler.__name__
        ]

    async def until(self, holds: Callable[[], Awaitable[bool]], seconds: float) -> None:
        end = self.clock.seconds + seconds
        while not await holds():
            assert self.clock.seconds < end, await self.conditions()
            await self.clock.pass_time(5)


@asynccontextmanager
async def cluster(*more: Extension) -> AsyncIterator[Cluster]:
    clock = HandClock()
    metrics = ResourceMetrics(clock)
    own = Extension(answers.GROUP, answers.VERSION, metrics.handle)
    async with api_server(clock, others=(own, *more)) as server:
        made = Cluster(server, clock)
        await made.client.create(Namespace(metadata=ObjectMeta(name="shop")))
        await access.ensure(made.client)
        await clock.pass_time(1)
        fleet = fleets.Fleet(fleets.SimulatedConfig(nodes=fleets.nodes(2)), made.client, clock)

        def client_for(name: str) -> Client:
            return made.client if name == manager.COMPONENT else made.account(name)

        work = (
            fleet.run(),
            metrics.run(made.account(access.ACCOUNT), lambda node: fleet.resource_metrics(node.metadata.name)),
            manager.run(client_for, Config(controllers=NAMES), clock, random.Random(1)),
            scheduler.run(made.client, SchedulerConfig(), clock, random.Random(1), host="test"),
        )
        tasks = [asyncio.ensure_future(one) for one in work]
        try:
            yield made
            for task in tasks:
                assert not task.done(), task.exception()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def test_usage_that_rises_scales_up_and_usage_that_falls_scales_down_after_a_while() -> None:
    async def main() -> None:
        async with cluster() as world:
            await world.deploy()
            target = {"type": "Utilization", "averageUtilization": 50}
            await world.autoscale(metrics=[{"type": "Resource", "resource": {"name": "cpu", "target": target}}])
            await world.clock.pass_time(60)
            assert await world.replicas() == 1
            await world.use("400m")

            async def is_large() -> bool:
                return await world.replicas() == 5

            await world.until(is_large, 90)
            await world.clock.pass_time(20)
            reason = "cpu resource utilization (percentage of request)"
            assert ("SuccessfulRescale", f"New size: 4; reason: {reason} above target") in await world.events()
            assert (await world.conditions())["ScalingActive"] == (
                "True",
                "ValidMetricFound",
                f"the HPA was able to successfully calculate a replica count from {reason}",
            )
            assert (await world.conditions())["ScalingLimited"][:2] == ("True", "TooManyReplicas")
            await world.use("2m")
            await world.clock.pass_time(200)
            assert await world.replicas() == 5
            assert (await world.conditions())["AbleToScale"][1] == "ScaleDownStabilized"

            async def is_small() -> bool:
                return await world.replicas() == 1

            await world.until(is_small, 200)
            assert ("SuccessfulRescale", "New size: 1; reason: All metrics below target") in await world.events()
            found = await world.client.get(HorizontalPodAutoscaler, "web", "shop")
            assert found.status.last_scale_time is not None
            await world.clock.pass_time(60)
            found = await world.client.get(HorizontalPodAutoscaler, "web", "shop")
            assert (found.status.current_replicas, found.status.desired_replicas) == (1, 1)
            metric = (found.status.current_metrics or ())[0].resource
            assert metric is not None
            assert (metric.current.average_utilization, metric.current.average_value) == (2, "2m")
            old = await world.client.get(V1Autoscaler, "web", "shop")
            assert old.status.current_cpu_utilization_percentage == 2
            told = msgspec.json.decode(old.metadata.annotations["autoscaling.alpha.kubernetes.io/conditions"])
            assert {one["type"] for one in told} == {"AbleToScale", "ScalingActive", "ScalingLimited"}

    asyncio.run(main())


def test_bounds_count_whatever_is_measured_and_none_means_off() -> None:
    async def main() -> None:
        async with cluster() as world:
            await world.deploy("few", 1)
            await world.deploy("many", 9)
            await world.deploy("off", 0)
            for name in ("few", "many", "off"):
                await world.autoscale(name, minReplicas=3)

            async def are_told() -> bool:
                return [reason for reason, _ in await world.events()].count("SuccessfulRescale") == 2

            await world.until(are_told, 30)
            assert [await world.replicas(name) for name in ("few", "many", "off")] == [3, 5, 0]
            assert (await world.conditions("off"))["ScalingActive"][:2] == ("False", "ScalingDisabled")
            said = [message for reason, message in await world.events() if reason == "SuccessfulRescale"]
            assert sorted(said) == [
                "New size: 3; reason: Current number of replicas below Spec.MinReplicas",
                "New size: 5; reason: Current number of replicas above Spec.MaxReplicas",
            ]

    asyncio.run(main())


def test_what_is_in_the_way_is_said() -> None:
    async def main() -> None:
        async with cluster() as world:
            await world.autoscale("gone")
            await world.deploy("unmeasured")
            custom = {"metric": {"name": "qps"}, "target": {"type": "AverageValue", "averageValue": "10"}}
            await world.autoscale("unmeasured", metrics=[{"type": "Pods", "pods": custom}])
            external = {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "10"}}
            await world.deploy("outside")
            await world.autoscale("outside", metrics=[{"type": "External", "external": external}])
            await world.deploy("shared")
            for name in ("one", "two"):
                await world.autoscale("shared", name=name)
            await world.clock.pass_time(40)
            start = "the HPA was unable to compute the replica count: "
            unable = "the HPA controller was unable to get the target's current scale: "
            assert (await world.conditions("gone"))["AbleToScale"] == (
                "False",
                "FailedGetScale",
                f'{unable}deployments.apps "gone" not found',
            )
            assert (await world.conditions("unmeasured"))["ScalingActive"] == (
                "False",
                "FailedGetPodsMetric",
                f"{start}unable to get metric qps: unable to fetch metrics from custom metrics API: "
                "no custom metrics API (custom.metrics.k8s.io) registered",
            )
            assert (await world.conditions("outside"))["ScalingActive"] == (
                "False",
                "FailedGetExternalMetric",
                f"{start}failed to get queue external metric: unable to get external metric shop/queue/nil: "
                "unable to fetch metrics from external metrics API: the server could not find the requested resource "
                "(get queue.external.metrics.k8s.io)",
            )
            shared = "pods by selector app=shared are controlled by multiple HPAs: [shop/one shop/two]"
            assert ("False", "AmbiguousSelector", shared) in [
                (await world.conditions(name))["ScalingActive"] for name in ("one", "two")
            ]
            assert ("AmbiguousSelector", shared) in await world.events()

    asyncio.run(main())


class CustomMetrics:
    """custom.metrics.k8s.io as an adapter serves it: one figure for each pod, one for a Service."""

    def __init__(self) -> None:
        self.figures: Mapping[str, str] = {}
        self.asked: list[tuple[str, str]] = []

    async def handle(self, request: Request) -> Response:
        path = request.path.removeprefix("/apis/custom.metrics.k8s.io/v1beta2").strip("/")
        if request.path.startswith("/openapi"):
            return Response(200, {}, b"{}")
        if not path:
            resources = [
                {"name": f"{name}/qps", "kind": "MetricValueList", "namespaced": True, "verbs": ["get"]}
                for name in ("pods", "services")
            ]
            return Response(200, {}, msgspec.json.encode({"resources": resources}))
        self.asked.append((path, query_values(request.query).get("labelSelector", "")))
        kind = path.split("/")[2]
        items = [
            {"describedObject": {"name": name}, "timestamp": "2026-05-01T12:00:00Z", "value": value}
            for name, value in self.figures.items()
            if name.startswith(kind[:-1])
        ]
        return Response(200, {}, msgspec.json.encode({"items": items}))


def test_custom_metrics_scale_where_somebody_serves_them() -> None:
    async def main() -> None:
        adapter = CustomMetrics()
        adapter.figures = {"service": "40"}
        async with cluster(Extension("custom.metrics.k8s.io", "v1beta2", adapter.handle)) as world:
            await world.deploy()
            described = {"apiVersion": "v1", "kind": "Service", "name": "front"}
            source = {
                "metric": {"name": "qps"},
                "describedObject": described,
                "target": {"type": "AverageValue", "averageValue": "10"},
            }
            await world.autoscale(metrics=[{"type": "Object", "object": source}])
            await world.clock.pass_time(40)
            assert await world.replicas() == 4
            assert adapter.asked[0][0] == "namespaces/shop/services/front/qps"
            assert ("SuccessfulRescale", "New size: 4; reason: external metric qps(nil) above target") in (
                await world.events()
            )

    asyncio.run(main())


def test_a_custom_resource_is_scaled_through_its_scale() -> None:
    async def main() -> None:
        async with cluster() as world:
            scale = {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"}
            schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
            tree = {
                "metadata": {"name": "herds.farm.example"},
                "spec": {
                    "group": "farm.example",
                    "names": {"kind": "Herd", "plural": "herds"},
                    "scope": "Namespaced",
                    "versions": [
                        {
                            "name": "v1",
                            "served": True,
                            "storage": True,
                            "schema": {"openAPIV3Schema": schema},
                            "subresources": {"scale": scale},
                        }
                    ],
                },
            }
            await world.client.create(codecs.convert(CustomResourceDefinition, tree))
            await world.clock.pass_time(2)
            herd = {
                "apiVersion": "farm.example/v1",
                "kind": "Herd",
                "metadata": {"name": "sheep"},
                "spec": {"size": 9},
            }
            path = "/apis/farm.example/v1/namespaces/shop/herds"
            await world.client.request("POST", path, "", msgspec.json.encode(herd))
            reference = {"apiVersion": "farm.example/v1", "kind": "Herd", "name": "sheep"}
            await world.autoscale("sheep", scaleTargetRef=reference)
            await world.clock.pass_time(20)
            found = msgspec.json.decode((await world.client.request("GET", f"{path}/sheep")).content())
            assert found["spec"]["size"] == 5
            await world.clock.pass_time(20)
            assert (await world.conditions("sheep"))["ScalingActive"] == (
                "False",
                "InvalidSelector",
                "the HPA target's scale is missing a selector",
            )

    asyncio.run(main())
