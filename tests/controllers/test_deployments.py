from __future__ import annotations

import asyncio
from typing import Any

from keelback.api.apps_v1 import Deployment, DeploymentSpec
from keelback.api.core_v1 import Container, PodSpec, PodTemplateSpec
from keelback.apimachinery.meta import LabelSelector, ObjectMeta
from keelback.client import MergePatch
from keelback.controllers.deployments import DeploymentReconciler
from keelback.controllers.replicasets import ReplicaSetReconciler


def web(replicas: int, image: str = "one") -> Deployment:
    template = PodTemplateSpec(
        metadata=ObjectMeta(labels={"app": "web"}), spec=PodSpec(containers=(Container(name="c", image=image),))
    )
    spec = DeploymentSpec(replicas=replicas, selector=LabelSelector(match_labels={"app": "web"}), template=template)
    return Deployment(metadata=ObjectMeta(name="web", namespace="default"), spec=spec)


def test_a_deployment_becomes_ready_and_rolls_to_a_new_image(world: Any) -> None:
    asyncio.run(_rolls(world()))


async def _rolls(cluster: Any) -> None:
    async with cluster.running(DeploymentReconciler, ReplicaSetReconciler):
        await cluster.client.create(web(3))
        await cluster.until(lambda: len(list(cluster.all("pods"))) == 3)
        await cluster.make_pods_ready()
        await cluster.until(lambda: status(cluster).get("availableReplicas") == 3 and complete(cluster))
        assert deployment(cluster)["metadata"]["generation"] == 1
        patch = MergePatch({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "two"}]}}}})
        await cluster.client.patch(Deployment, "web", "default", patch)
        for _ in range(20):
            await cluster.until(lambda: rolled(cluster) or any_pending(cluster))
            if rolled(cluster):
                break
            await cluster.make_pods_ready()
        assert {image(pod) for pod in cluster.all("pods")} == {"two"}
        assert len(list(cluster.all("replicasets"))) == 2
        await cluster.until(
            lambda: deployment(cluster)["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
        )
    said = [message for _, reason, message in cluster.events.said if reason == "ScalingReplicaSet"]
    assert said[0].startswith("Scaled up replica set web-")
    assert said[0].endswith("from 0 to 3")


def deployment(cluster: Any) -> Any:
    return next(cluster.all("deployments"))


def status(cluster: Any) -> Any:
    return deployment(cluster).get("status", {})


def complete(cluster: Any) -> bool:
    conditions = {one["type"]: one["reason"] for one in status(cluster).get("conditions", [])}
    return conditions == {"Available": "MinimumReplicasAvailable", "Progressing": "NewReplicaSetAvailable"}


def rolled(cluster: Any) -> bool:
    found = status(cluster)
    return (
        found.get("observedGeneration") == deployment(cluster)["metadata"]["generation"]
        and found.get("updatedReplicas") == found.get("replicas") == found.get("availableReplicas") == 3
        and len(list(cluster.all("pods"))) == 3
    )


def any_pending(cluster: Any) -> bool:
    return any(pod.get("status", {}).get("phase") != "Running" for pod in cluster.all("pods"))


def image(pod: Any) -> str:
    return pod["spec"]["containers"][0]["image"]
