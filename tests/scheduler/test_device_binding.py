"""Pods with claims for devices in a whole cluster: from a template to an allocation, and back to free devices."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from keelback.testing.cluster import Cluster

Tree = dict[str, Any]

DRIVER, GROUP = "gpu.example", "resource.k8s.io/v1"
FINALIZER = "resource.kubernetes.io/delete-protection"
REQUEST = {"name": "gpu", "exactly": {"deviceClassName": "gpu"}}
NOT_ALL = "cannot allocate all claims"
NO_HELP = "still not schedulable, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."


def named(kind: str, name: str, spec: Tree, api_version: str = GROUP) -> Tree:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec}


def device_class(name: str = "gpu", **spec: Any) -> Tree:
    return named("DeviceClass", name, {"selectors": [{"cel": {"expression": f"device.driver == '{DRIVER}'"}}], **spec})


def offered(node: str, *devices: Tree) -> Tree:
    pool = {"name": node, "generation": 1, "resourceSliceCount": 1}
    return named("ResourceSlice", node, {"driver": DRIVER, "nodeName": node, "pool": pool, "devices": list(devices)})


def claim(name: str, request: Tree = REQUEST) -> Tree:
    return named("ResourceClaim", name, {"devices": {"requests": [request]}})


def pod(
    name: str, *claims: str, template: str = "", requests: Tree | None = None, node_selector: Tree | None = None
) -> Tree:
    entries: list[Tree] = [{"name": one, "resourceClaimName": one} for one in claims]
    if template:
        entries.append({"name": "gpu", "resourceClaimTemplateName": template})
    container: Tree = {"name": "main", "image": "registry.example/app:1"}
    if requests:
        container["resources"] = {"requests": requests, "limits": requests}
    spec = {"containers": [container], "resourceClaims": entries, "nodeSelector": node_selector or {}}
    return named("Pod", name, spec, "v1")


def scheduled(cluster: Cluster, name: str) -> Tree:
    conditions = cluster.get(f"pod/{name}")["status"].get("conditions", [])
    return next((one for one in conditions if one["type"] == "PodScheduled"), {})


def on_node(name: str) -> Callable[[Tree], bool]:
    return lambda tree: bool(tree["spec"].get("nodeName") == name)


def test_a_template_becomes_a_claim_with_a_device_that_is_free_again_when_the_pod_is_gone() -> None:
    with Cluster(nodes=2) as cluster:
        cluster.apply(device_class())
        cluster.apply(offered("node-1", {"name": "gpu-0"}))
        template = {"spec": {"devices": {"requests": [REQUEST]}}}
        cluster.apply(named("ResourceClaimTemplate", "one-gpu", template))
        cluster.apply(pod("first", template="one-gpu"))
        cluster.wait("pod/first", "status.phase=Running")
        (made,) = cluster.list("resourceclaims")
        uid = cluster.get("pod/first")["metadata"]["uid"]
        allocation = made["status"]["allocation"]
        assert made["metadata"]["finalizers"] == [FINALIZER]
        assert made["status"]["reservedFor"] == [{"resource": "pods", "name": "first", "uid": uid}]
        assert allocation["devices"]["results"] == [
            {"request": "gpu", "driver": DRIVER, "pool": "node-1", "device": "gpu-0"}
        ]
        field = {"key": "metadata.name", "operator": "In", "values": ["node-1"]}
        assert allocation["nodeSelector"] == {"nodeSelectorTerms": [{"matchFields": [field]}]}
        assert allocation["allocationTimestamp"]

        cluster.apply(pod("second", template="one-gpu"))
        cluster.wait("pod/second", "PodScheduled=False")
        assert scheduled(cluster, "second")["message"] == f"0/2 nodes are available: 2 {NOT_ALL}. {NO_HELP}"
        cluster.delete("pod/first")
        cluster.wait("pod/second", on_node("node-1"))
        cluster.wait(f"resourceclaim/{made['metadata']['name']}", "deleted")


def test_pods_share_a_claim_and_wait_for_it_without_being_tried() -> None:
    with Cluster(nodes=2) as cluster:
        cluster.apply(device_class())
        cluster.apply(offered("node-0", {"name": "gpu-0"}))
        cluster.apply(pod("a", "shared"))
        cluster.apply(pod("b", "shared"))
        cluster.advance(5)
        assert scheduled(cluster, "a") == {}
        cluster.apply(claim("shared"))
        for name in ("a", "b"):
            cluster.wait(f"pod/{name}", on_node("node-0"))
        users = cluster.get("resourceclaim/shared")["status"]["reservedFor"]
        assert sorted(one["name"] for one in users) == ["a", "b"]
        cluster.delete("pod/a")
        cluster.delete("pod/b")
        cluster.wait("resourceclaim/shared", lambda tree: not tree["status"].get("allocation"))
        assert "finalizers" not in cluster.get("resourceclaim/shared")["metadata"]


def test_a_class_that_is_missing_is_waited_for_and_a_selector_without_an_answer_is_an_error() -> None:
    with Cluster(nodes=2) as cluster:
        cluster.apply(offered("node-0", {"name": "gpu-0"}))
        cluster.apply(claim("early"))
        cluster.apply(pod("early", "early"))
        cluster.wait("pod/early", "PodScheduled=False")
        assert scheduled(cluster, "early")["message"] == (
            f"0/2 nodes are available: request gpu: device class gpu does not exist. {NO_HELP}"
        )
        cluster.apply(device_class())
        cluster.wait("pod/early", on_node("node-0"))
        broken = {"selectors": [{"cel": {"expression": f"device.attributes['{DRIVER}'].size == 1"}}]}
        cluster.apply(claim("broken", {"name": "gpu", "exactly": {"deviceClassName": "gpu", **broken}}))
        cluster.apply(pod("broken", "broken"))
        cluster.wait("pod/broken", "PodScheduled=False")
        said = scheduled(cluster, "broken")
        assert (said["reason"], said["message"]) == (
            "SchedulerError",
            'running "DynamicResources" filter plugin: '
            "claim default/broken: selector #0: CEL runtime error: no such key: size",
        )
        assert [one["reason"] for one in cluster.events("pod/broken")] == ["FailedScheduling"]


def test_a_pod_follows_a_claim_and_an_unused_claim_follows_its_pod() -> None:
    with Cluster(nodes=2) as cluster:
        cluster.apply(device_class())
        for node in ("node-0", "node-1"):
            cluster.apply(offered(node, {"name": "gpu-0"}))
        cluster.apply(claim("mine"))
        cluster.apply(pod("first", "mine"))
        cluster.wait("pod/first", "status.phase=Running")
        here = cluster.get("pod/first")["spec"]["nodeName"]
        (there,) = {"node-0", "node-1"} - {here}
        cluster.apply(pod("second", "mine", node_selector={"kubernetes.io/hostname": there}))
        cluster.wait("pod/second", "PodScheduled=False")
        assert scheduled(cluster, "second")["message"] == (
            "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, "
            f"1 resourceclaim not available on the node. {NO_HELP}"
        )
        # Once nobody else uses it, its devices are given back and others are found.
        cluster.delete("pod/first")
        cluster.wait("pod/second", on_node(there))


def test_devices_that_must_be_attached_hold_the_pod_back_and_may_fail() -> None:
    attached = {"bindingConditions": ["Attached"], "bindingFailureConditions": ["Failed"], "bindsToNode": True}
    with Cluster(nodes=2) as cluster:
        cluster.apply(device_class())
        pool = {"name": "fabric", "generation": 1, "resourceSliceCount": 1}
        devices = [{"name": "far-0", **attached}, {"name": "far-1", **attached}]
        fabric = {"driver": DRIVER, "allNodes": True, "pool": pool, "devices": devices}
        cluster.apply(named("ResourceSlice", "fabric", fabric))
        cluster.apply(claim("mine"))
        cluster.apply(pod("waiting", "mine"))
        allocated = cluster.wait("resourceclaim/mine", lambda tree: "allocation" in tree.get("status", {}))
        assert allocated["status"]["allocation"]["nodeSelector"]
        cluster.advance(20)
        assert not cluster.get("pod/waiting")["spec"].get("nodeName")
        assert [one["reason"] for one in cluster.events("pod/waiting")] == ["BindingConditionsPending"]

        def say(condition: str) -> None:
            result = cluster.get("resourceclaim/mine")["status"]["allocation"]["devices"]["results"][0]
            when = "2026-05-01T12:00:00Z"
            said = {"type": condition, "status": "True", "reason": "Said", "message": "so", "lastTransitionTime": when}
            device = {key: result[key] for key in ("driver", "pool", "device")} | {"conditions": [said]}
            cluster.patch("resourceclaim/mine", {"status": {"devices": [device]}}, subresource="status")

        say("Failed")
        cluster.advance(60)
        assert any("device binding failed: claim=mine" in one["message"] for one in cluster.events("pod/waiting"))
        say("Attached")
        cluster.wait("pod/waiting", "status.phase=Running")


def test_devices_stand_for_extended_resources_where_no_node_has_them() -> None:
    with Cluster(nodes=2) as cluster:
        cluster.apply(device_class(extendedResourceName="example.com/gpu"))
        cluster.apply(pod("web", requests={"example.com/gpu": "2"}))
        cluster.wait("pod/web", "PodScheduled=False")
        assert scheduled(cluster, "web")["message"] == f"0/2 nodes are available: 2 {NOT_ALL}. {NO_HELP}"
        cluster.apply(offered("node-1", {"name": "gpu-0"}, {"name": "gpu-1"}, {"name": "gpu-2"}))
        cluster.wait("pod/web", on_node("node-1"))
        status = cluster.get("pod/web")["status"]["extendedResourceClaimStatus"]
        assert status["requestMappings"] == [
            {"containerName": "main", "resourceName": "example.com/gpu", "requestName": "container-0-request-0"}
        ]
        made = cluster.get(f"resourceclaim/{status['resourceClaimName']}")
        assert made["metadata"]["annotations"] == {"resource.kubernetes.io/extended-resource-claim": "true"}
        assert len(made["status"]["allocation"]["devices"]["results"]) == 2
        cluster.apply(pod("next", requests={"deviceclass.resource.kubernetes.io/gpu": "2"}))
        cluster.wait("pod/next", "PodScheduled=False")
        cluster.delete("pod/web")
        cluster.wait("pod/next", on_node("node-1"))


def test_a_reservation_that_cannot_be_written_is_taken_back() -> None:
    with Cluster(nodes=1) as cluster:
        cluster.apply(device_class())
        cluster.apply(offered("node-0", {"name": "gpu-0"}))
        cluster.apply(claim("mine"))
        with cluster.inject(client="kube-scheduler", verb="patch", resource="resourceclaims/status", status=500):
            cluster.apply(pod("web", "mine"))
            cluster.wait("pod/web", "PodScheduled=False")
            assert scheduled(cluster, "web")["reason"] == "SchedulerError"
        cluster.wait("pod/web", "status.phase=Running")


def test_a_claim_left_behind_by_a_scheduler_that_was_stopped_does_not_keep_its_device() -> None:
    with Cluster(nodes=1) as cluster:
        cluster.apply(device_class(extendedResourceName="example.com/gpu"))
        cluster.apply(offered("node-0", {"name": "gpu-0"}))
        unbound = cluster.inject(client="kube-scheduler", verb="create", resource="pods/binding", status=500)
        undeleted = cluster.inject(client="kube-scheduler", verb="delete", resource="resourceclaims", status=500)
        with unbound, undeleted:
            cluster.apply(pod("web", requests={"example.com/gpu": "1"}))
            cluster.wait("pod/web", "PodScheduled=False")
            (left,) = cluster.list("resourceclaims")
        cluster.wait("pod/web", on_node("node-0"))
        (made,) = cluster.list("resourceclaims")
        assert made["metadata"]["uid"] != left["metadata"]["uid"]


def test_no_device_is_given_twice_whatever_fails_meanwhile() -> None:
    chance = random.Random(7)
    with Cluster(nodes=2, seed=7) as cluster:
        cluster.apply(device_class())
        for node in ("node-0", "node-1"):
            cluster.apply(offered(node, {"name": "gpu-0"}, {"name": "gpu-1"}))
        cluster.apply(named("ResourceClaimTemplate", "one", {"spec": {"devices": {"requests": [REQUEST]}}}))
        waiting: list[str] = []
        for number in range(12):
            waiting.append(f"p-{number}")
            cluster.apply(pod(waiting[-1], template="one"))
            if number % 3 == 2:
                cluster.delete(f"pod/{waiting.pop(chance.randrange(len(waiting)))}")
            resource = chance.choice(["resourceclaims", "resourceclaims/status", "pods/status"])
            how = chance.choice([{"status": 500}, {"status": 409}, {"lost": True}])
            with cluster.inject(client="kube-scheduler", verb="patch", resource=resource, probability=0.5, **how):
                cluster.advance(chance.random() * 2)
            if number == 6:
                cluster.stop_component("scheduler")
                cluster.start_component("scheduler")
            allocations = (one.get("status", {}).get("allocation") for one in cluster.list("resourceclaims"))
            results = [result for one in allocations if one for result in one["devices"]["results"]]
            assert len({(one["pool"], one["device"]) for one in results}) == len(results)
        cluster.advance(120)
        assert sum(bool(one["spec"].get("nodeName")) for one in cluster.list("pods")) == 4


def test_a_rule_keeps_claims_from_the_devices_that_it_taints_as_their_driver_would() -> None:
    def rule(name: str, effect: str, **selector: str) -> Tree:
        spec = {"deviceSelector": selector, "taint": {"key": "broken", "effect": effect}}
        return named("DeviceTaintRule", name, spec, "resource.k8s.io/v1alpha3")

    tolerating = {"name": "gpu", "exactly": {"deviceClassName": "gpu", "tolerations": [{"operator": "Exists"}]}}
    with Cluster(nodes=2, optional_versions=(("resource.k8s.io", "v1alpha3"),)) as cluster:
        cluster.apply(device_class())
        cluster.apply(offered("node-0", {"name": "gpu-0"}))
        cluster.apply(offered("node-1", {"name": "gpu-1"}))
        cluster.apply(rule("elsewhere", "NoSchedule", driver="other.example"))
        cluster.apply(rule("first", "NoExecute", driver=DRIVER, pool="node-0"))
        cluster.apply(rule("second", "NoSchedule", device="gpu-1"))
        cluster.apply(claim("plain"))
        cluster.apply(claim("tolerant", tolerating))
        cluster.apply(pod("plain", "plain"))
        cluster.wait("pod/plain", lambda tree: bool(tree["status"].get("conditions")))
        assert scheduled(cluster, "plain")["message"] == f"0/2 nodes are available: 2 {NOT_ALL}. {NO_HELP}"
        cluster.apply(pod("tolerant", "tolerant"))
        cluster.wait("pod/tolerant", lambda tree: bool(tree["spec"].get("nodeName")))
        free = 1 - int(cluster.get("pod/tolerant")["spec"]["nodeName"][-1])
        # What only tells what it would do keeps nobody off.
        cluster.patch(f"devicetaintrule/{('first', 'second')[free]}", {"spec": {"taint": {"effect": "None"}}})
        cluster.wait("pod/plain", on_node(f"node-{free}"))
