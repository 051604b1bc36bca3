"""What `keelback explain pod` prints."""

from __future__ import annotations

import pytest

from keelback.api.core_v1 import PodResourceClaim, ResourceRequirements
from keelback.api.resource_v1 import (
    DeviceClaim,
    DeviceClass,
    DeviceRequest,
    ExactDeviceRequest,
    ResourceClaim,
    ResourceClaimSpec,
)
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.bootstrap.cluster_state import ClusterError
from keelback.cli import explain, main
from keelback.scheduler.snapshot import Snapshot
from keelback.scheduling.node_info import NodeStatusToPlaceOn, NodeToPlaceOn
from keelback.scheduling.pod_to_place import ContainerToPlace, PodToPlace, SpecToPlace


def node(name: str, cpu: str) -> NodeToPlaceOn:
    status = NodeStatusToPlaceOn(allocatable={"cpu": cpu, "memory": "4Gi", "pods": "10"})
    return NodeToPlaceOn(metadata=ObjectMeta(name=name), status=status)


def pod(cpu: str) -> PodToPlace:
    container = ContainerToPlace(name="main", resources=ResourceRequirements(requests={"cpu": cpu, "memory": "1Gi"}))
    return PodToPlace(
        metadata=ObjectMeta(name="web", namespace="shop", uid="u"), spec=SpecToPlace(containers=(container,))
    )


def printed(cpu: str) -> str:
    taken = Snapshot()
    for one in (node("large", "4"), node("small", "1"), pod(cpu)):
        taken.put(one)
    return "\n".join(explain.written(taken.explain(taken.pods[("shop", "web")])))


def test_scores_stand_by_the_nodes_that_fit_and_reasons_by_the_others() -> None:
    assert printed("2") == (
        "Pod:       shop/web (scheduler default-scheduler)\n"
        "Now:       has no node\n"
        "Would go:  to node large\n"
        "Nodes:     1 of 2 fit\n"
        "\n"
        "large: fits, score 130\n"
        "  NodeResourcesFit: 62 x 1\n"
        "  NodeResourcesBalancedAllocation: 68 x 1\n"
        "\n"
        "small: does not fit\n"
        "  NodeResourcesFit: Insufficient cpu\n"
        "    -> ask for 1 less cpu than 2: the node has 1 in all"
    )


def test_a_pod_that_fits_nowhere_has_the_schedulers_own_message() -> None:
    said = printed("5")
    assert "Would go:  nowhere\n" in said
    assert (
        "Message:   0/2 nodes are available: 2 Insufficient cpu. "
        "no new claims to deallocate, "
        "preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.\n"
    ) in said


def test_what_is_wrong_with_the_claims_of_a_pod_is_said_with_what_would_help() -> None:
    taken = Snapshot()
    entry = PodResourceClaim(name="gpu", resource_claim_name="mine")
    waiting = pod("1")
    waiting = replace(waiting, spec=replace(waiting.spec, resource_claims=(entry,)))
    for one in (node("large", "4"), waiting):
        taken.put(one)
    asked = ExactDeviceRequest(device_class_name="gpu")
    spec = ResourceClaimSpec(devices=DeviceClaim(requests=(DeviceRequest(name="gpu", exactly=asked),)))
    assert 'could not find ResourceClaim "shop/mine"' in "\n".join(explain.written(taken.explain(waiting)))
    taken.put(ResourceClaim(metadata=ObjectMeta(name="mine", namespace="shop", uid="c"), spec=spec))
    assert "device class gpu does not exist" in "\n".join(explain.written(taken.explain(waiting)))
    taken.put(DeviceClass(metadata=ObjectMeta(name="gpu")))
    assert "\n".join(explain.written(taken.explain(waiting))).endswith(
        "  DynamicResources: cannot allocate all claims\n"
        "    -> claim mine, request gpu: 1 of class gpu wanted; 0 match here, 0 of them taken"
    )


def test_without_a_kubeconfig_it_says_so(tmp_path, capsys) -> None:
    assert main.main(["explain", "pod", "web", "--kubeconfig", str(tmp_path / "none")]) == 1
    assert "does not exist" in capsys.readouterr().err


def test_a_configuration_with_extenders_is_refused(tmp_path) -> None:
    path = tmp_path / "scheduler.yaml"
    path.write_text(
        "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"
        "extenders: [{urlPrefix: 'http://127.0.0.1:9', filterVerb: filter}]\n"
    )
    with pytest.raises(ClusterError, match="extenders are not asked here"):
        explain.profiles_of(str(path))
