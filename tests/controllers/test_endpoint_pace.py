"""Endpoints of large Services are written together, those of small ones as they change."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from keelback.api.core_v1 import Service
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.controllers.endpoint_pace import FREE_ENDPOINTS, MOST_SECONDS, Pace
from keelback.testing.cluster import Cluster

SERVICE = Service(metadata=ObjectMeta(name="web", namespace="default", resource_version="1"))
PODS = 200


def test_a_small_service_never_rests() -> None:
    pace = Pace()
    pace.wrote(SERVICE, FREE_ENDPOINTS, 10.0)
    assert pace.seconds_left(SERVICE, 10.0) == 0.0


def test_a_service_rests_the_longer_the_more_endpoints_it_has_but_not_for_ever() -> None:
    pace = Pace()
    pace.wrote(SERVICE, 1000, 10.0)
    assert pace.seconds_left(SERVICE, 10.0) == pytest.approx(2.25)
    assert pace.seconds_left(SERVICE, 11.25) == pytest.approx(1.0)
    assert pace.seconds_left(SERVICE, 13.0) == 0.0
    pace.wrote(SERVICE, 100_000, 20.0)
    assert pace.seconds_left(SERVICE, 20.0) == MOST_SECONDS


def test_a_service_that_has_changed_itself_does_not_wait() -> None:
    pace = Pace()
    pace.wrote(SERVICE, 1000, 10.0)
    changed = replace(SERVICE.metadata, resource_version="2")
    assert pace.seconds_left(replace(SERVICE, metadata=changed), 10.0) == 0.0


def deployment(image: str) -> dict[str, Any]:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": image}]}}
    spec = {"replicas": PODS, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


def test_a_rolling_update_writes_the_slices_of_its_service_no_more_than_twice_as_often_as_it_must() -> None:
    with Cluster(nodes=4) as cluster:
        ports = {"ports": [{"port": 80}], "selector": {"app": "web"}}
        cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": ports})
        cluster.apply(deployment("one:1"))
        cluster.wait("deployment/web", f"status.availableReplicas={PODS}")
        cluster.advance(10.0)
        recording = cluster.record()
        cluster.apply(deployment("one:2"))
        cluster.wait("deployment/web", f"status.updatedReplicas={PODS}")
        cluster.wait("deployment/web", f"status.replicas={PODS}")
        cluster.advance(10.0)
        writes = [one for one in recording.writes if one.resource == "endpointslices" and one.before != one.after]
        # Each endpoint comes, begins to end, and goes; a slice has a hundred.
        assert len(writes) <= 2 * 3 * PODS // 100
        pods = Counter(one["status"]["podIP"] for one in cluster.list("pods"))
        slices = cluster.list("endpointslices", label_selector="kubernetes.io/service-name=web")
        held = [endpoint for one in slices for endpoint in one["endpoints"]]
        assert Counter(one["addresses"][0] for one in held if one["conditions"]["ready"]) == pods
