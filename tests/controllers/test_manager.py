from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

from keelback.api.apps_v1 import Deployment, DeploymentSpec
from keelback.api.core_v1 import (
    Container,
    Namespace,
    Node,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeSpec,
    PodSpec,
    PodTemplateSpec,
    VolumeResourceRequirements,
)
from keelback.apimachinery.meta import LabelSelector, ObjectMeta
from keelback.concurrency.clock import SystemClock
from keelback.controllers import manager
from keelback.controllers.builtin import BUILTIN
from keelback.controllers.config import Config
from keelback.testing.cluster import Cluster

LABELS = {"app": "web"}


def test_all_controllers_run_together_and_end_together(world: Any) -> None:
    async def play() -> None:
        cluster = world()
        config = Config(root_ca="PEM", allocate_node_cidrs=True, cluster_cidrs=("10.244.0.0/16",))
        running = asyncio.get_running_loop().create_task(
            manager.run(cluster.client, config, SystemClock(), random.Random(1))
        )
        await cluster.client.create(Namespace(metadata=ObjectMeta(name="default")))
        for name in ("a", "b"):
            await cluster.client.create(Node(metadata=ObjectMeta(name=name)))
        template = PodTemplateSpec(
            metadata=ObjectMeta(labels=LABELS), spec=PodSpec(containers=(Container(name="c", image="one"),))
        )
        spec = DeploymentSpec(replicas=2, selector=LabelSelector(match_labels=LABELS), template=template)
        await cluster.client.create(Deployment(metadata=ObjectMeta(name="web", namespace="default"), spec=spec))
        await cluster.until(lambda: len(list(cluster.all("pods"))) == 2)
        await cluster.make_pods_ready()
        await cluster.until(lambda: next(cluster.all("deployments")).get("status", {}).get("availableReplicas") == 2)
        await cluster.until(lambda: "/api/v1/namespaces/default/configmaps/kube-root-ca.crt" in cluster.server.objects)
        await cluster.until(lambda: ranges(cluster) == {"10.244.0.0/24", "10.244.1.0/24"})
        await bind_a_claim(cluster)
        await cluster.until(lambda: "ScalingReplicaSet" in {event["reason"] for event in cluster.all("events")})
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert running.cancelled()

    asyncio.run(play())


async def bind_a_claim(cluster: Any) -> None:
    for name, size in (("large", "10Gi"), ("small", "2Gi"), ("tiny", "1Mi")):
        spec = PersistentVolumeSpec(access_modes=("ReadWriteOnce",), capacity={"storage": size})
        await cluster.client.create(PersistentVolume(metadata=ObjectMeta(name=name), spec=spec))
    resources = VolumeResourceRequirements(requests={"storage": "1Gi"})
    spec = PersistentVolumeClaimSpec(access_modes=("ReadWriteOnce",), resources=resources)
    await cluster.client.create(PersistentVolumeClaim(metadata=ObjectMeta(name="data", namespace="default"), spec=spec))
    await cluster.until(lambda: next(cluster.all("persistentvolumeclaims")).get("status", {}).get("phase") == "Bound")
    assert next(cluster.all("persistentvolumeclaims"))["spec"]["volumeName"] == "small"


def ranges(cluster: Any) -> set[str]:
    return {node["spec"].get("podCIDR") for node in cluster.all("nodes")}


def test_an_api_server_that_does_not_answer_is_asked_ever_more_rarely_and_work_goes_on_when_it_does() -> None:
    template = {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "c", "image": "one"}]}}
    spec = {"replicas": 2, "selector": {"matchLabels": LABELS}, "template": template}
    with Cluster(nodes=1, heartbeat_seconds=60) as cluster:
        with cluster.inject(client="kube-controller-manager", status=503) as fault:
            cluster.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec})
            cluster.drop_watches(client="kube-controller-manager")
            cluster.advance(minutes=2)
            before = fault.hits
            cluster.advance(minutes=5)
            # Some fifty kinds are watched, and each is asked for again within half a minute.
            assert 0 < fault.hits - before < 3 * 5 * 60
        # What has failed for so long is tried again after as long again, as upstream does.
        cluster.wait("deployment/web", "Available", timeout=1000)


def test_each_controller_is_described_in_the_docs() -> None:
    text = (Path(__file__).parents[2] / "docs" / "controllers.md").read_text()
    assert [entry.name for entry in BUILTIN if f"| `{entry.name}` |" not in text] == []


def test_each_controller_says_who_it_is() -> None:
    for entry in BUILTIN:
        assert entry.name.endswith("-controller")
        assert entry.role
        assert entry.component
