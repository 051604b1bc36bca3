"""Shapes: alike pods share one, others do not; requests follow the rules for init containers and sidecars."""

from __future__ import annotations

from typing import Any

import msgspec

from keelback.scheduling import resources
from keelback.scheduling.pod_info import PodShapes
from keelback.scheduling.pod_to_place import PodToPlace


def decoded(name: str = "web-1", *, suffix: str = "abcde", **spec: Any) -> PodToPlace:
    tree = {
        "metadata": {"name": name, "namespace": "default", "uid": name, "labels": {"app": "web"}},
        "spec": {
            "containers": [{"name": "c", "image": "nginx", "resources": {"requests": {"cpu": "100m"}}}],
            "volumes": [{"name": f"kube-api-access-{suffix}", "projected": {"sources": []}}],
            **spec,
        },
    }
    return msgspec.json.decode(msgspec.json.encode(tree), type=PodToPlace)


def test_pods_of_one_template_share_a_shape_wherever_they_run() -> None:
    shapes = PodShapes()
    one = shapes.of(decoded("web-1", suffix="aaaaa"))
    assert shapes.of(decoded("web-2", suffix="bbbbb")) is one
    assert shapes.of(decoded("web-3", nodeName="n1")) is one


def test_what_scheduling_reads_tells_shapes_apart() -> None:
    shapes = PodShapes()
    one = shapes.of(decoded())
    assert shapes.of(decoded(nodeSelector={"disk": "ssd"})) is not one
    assert shapes.of(decoded(priority=5)) is not one
    claim = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    assert shapes.of(decoded(volumes=claim)).claims == ("data",)


def test_ephemeral_volumes_use_the_claim_made_for_them() -> None:
    volumes = [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}]
    assert PodShapes().of(decoded("web-1", volumes=volumes)).claims == ("web-1-scratch",)


def container(cpu: str, restart_policy: str | None = None) -> dict[str, Any]:
    return {"name": "x", "resources": {"requests": {"cpu": cpu}}, "restartPolicy": restart_policy}


def test_an_init_container_counts_alone_beside_the_sidecars_before_it() -> None:
    pod = decoded(initContainers=[container("1"), container("2", "Always"), container("5"), container("1", "Always")])
    # 5 cpus for the third, with the sidecar of 2 that runs by then; the main container and both sidecars need 3.1.
    assert PodShapes().of(pod).requests == {"cpu": 7000}


def test_pod_level_requests_replace_the_sum_and_overhead_comes_on_top() -> None:
    pod = decoded(resources={"requests": {"cpu": "2"}}, overhead={"cpu": "50m", "memory": "10Mi"})
    assert PodShapes().of(pod).requests == {"cpu": 2050, "memory": 10 << 20}


def test_a_container_that_names_no_request_counts_as_a_nominal_one_for_scores() -> None:
    pod = decoded(containers=[{"name": "a"}, {"name": "b"}])
    info = PodShapes().of(pod)
    assert info.requests == {}
    assert info.nominal_requests == {name: 2 * number for name, number in resources.NOMINAL.items()}


def resizing(asked: str, given: str, has: str, reason: str = "") -> PodToPlace:
    tree = {
        "metadata": {"name": "p", "namespace": "default", "uid": "p"},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": asked}}}]},
        "status": {
            "conditions": [{"type": "PodResizePending", "status": "True", "reason": reason}] if reason else [],
            "containerStatuses": [
                {"name": "c", "allocatedResources": {"cpu": given}, "resources": {"requests": {"cpu": has}}}
            ],
        },
    }
    return msgspec.json.decode(msgspec.json.encode(tree), type=PodToPlace)


def test_while_a_container_is_resized_the_most_of_what_it_asks_for_and_has_counts() -> None:
    shapes = PodShapes()
    assert shapes.of(resizing("2", "1", "1")).requests == {"cpu": 2000}
    assert shapes.of(resizing("1", "1", "3")).requests == {"cpu": 3000}
    assert shapes.of(resizing("1", "1000m", "1")).requests == {"cpu": 1000}
    assert shapes.of(resizing("8", "1", "1", reason="Infeasible")).requests == {"cpu": 1000}
    assert shapes.of(resizing("8", "1", "1", reason="Deferred")).requests == {"cpu": 8000}
