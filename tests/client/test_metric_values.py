"""Figures are read from the three metrics APIs, and what is in the way is said in upstream's words."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from keelback.api.autoscaling_v2 import MetricSpec
from keelback.apimachinery import codecs, labels
from keelback.apimachinery.meta import Kind, make_kind
from keelback.client import Client, InProcessTransport
from keelback.client.metric_values import Figures, MetricError, MetricsReader, Sample
from keelback.component.http import Request, Response

THEN = "2026-05-01T12:00:00Z"
AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
CUSTOM = "/apis/custom.metrics.k8s.io"
PODS = "/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods"


def read(metric: dict[str, Any], served: Mapping[str, Any]) -> Figures:
    """What a metric says where the API serves these documents by their paths, and nothing else."""

    async def handler(request: Request) -> Response:
        found = served.get(request.path)
        if found is None:
            status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
            return Response(404, {}, msgspec.json.encode(status))
        return Response(200, {}, msgspec.json.encode(found))

    async def kind_named(api_version: str, kind: str) -> Kind:
        if kind == "Odd":
            raise LookupError('no matches for kind "Odd" in group ""')
        return make_kind(api_version, kind, f"{kind.lower()}s", namespaced=kind != "Namespace")

    async def main() -> Figures:
        reader = MetricsReader(Client(InProcessTransport(handler), user_agent="test"), kind_named)
        return await reader.read(codecs.convert(MetricSpec, metric), "shop", labels.parse("app=web"))

    return asyncio.run(main())


def used(name: str, *containers: dict[str, str]) -> dict[str, Any]:
    told = [{"name": f"c{index}", "usage": usage} for index, usage in enumerate(containers)]
    return {"metadata": {"name": name, "namespace": "shop"}, "timestamp": THEN, "window": "30s", "containers": told}


USAGE = {
    PODS: {
        "kind": "PodMetricsList",
        "apiVersion": "metrics.k8s.io/v1beta1",
        "metadata": {},
        "items": [used("a", {"cpu": "100m"}, {"cpu": "1"}), used("b", {"memory": "1Mi"})],
    }
}
RESOURCE = {"type": "Resource", "resource": {"name": "cpu"}}
CONTAINER = {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "c1"}}
EACH = {"type": "Pods", "pods": {"metric": {"name": "qps"}}}
EXTERNAL = {"type": "External", "external": {"metric": {"name": "queue", "selector": {"matchLabels": {"q": "x"}}}}}


def one_object(kind: str) -> dict[str, Any]:
    described = {"apiVersion": "v1", "kind": kind, "name": "front"}
    return {"type": "Object", "object": {"metric": {"name": "qps"}, "describedObject": described}}


def custom(path: str, *items: dict[str, Any]) -> dict[str, Any]:
    group = {"preferredVersion": {"groupVersion": "custom.metrics.k8s.io/v1beta2", "version": "v1beta2"}}
    return {CUSTOM: group, f"{CUSTOM}/v1beta2/{path}": {"items": items}}


QPS = {"describedObject": {"name": "a"}, "timestamp": THEN, "value": "1500m"}


@pytest.mark.parametrize(
    ("metric", "served", "figures"),
    [
        (RESOURCE, USAGE, {"a": Sample(1100, AT, timedelta(seconds=30))}),
        (EACH, custom("namespaces/shop/pods/*/qps", QPS), {"a": Sample(1500, AT, timedelta(minutes=1))}),
        (one_object("Service"), custom("namespaces/shop/services/front/qps", QPS), 1500),
        (one_object("Namespace"), custom("namespaces/front/metrics/qps", QPS), 1500),
        (
            EXTERNAL,
            {"/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/queue": {"items": [QPS, {"value": 2}]}},
            3500,
        ),
    ],
)
def test_each_kind_of_metric_has_its_figures(metric: dict[str, Any], served: Any, figures: Figures) -> None:
    assert read(metric, served) == figures


FETCH = "unable to fetch metrics from {} metrics API: {}"


@pytest.mark.parametrize(
    ("metric", "served", "why"),
    [
        (
            RESOURCE,
            {},
            "metrics for resource cpu: "
            + FETCH.format("resource", "the server could not find the requested resource (get pods.metrics.k8s.io)"),
        ),
        (
            CONTAINER,
            USAGE,
            "metrics for resource cpu: failed to get container metrics: container c1 not present in metrics for pod "
            "shop/b",
        ),
        (EACH, {}, "metric qps: " + FETCH.format("custom", "no custom metrics API (custom.metrics.k8s.io) registered")),
        (EACH, custom("namespaces/shop/pods/*/qps"), "metric qps: no metrics returned from custom metrics API"),
        (
            one_object("Odd"),
            {},
            "metric qps: Odd on shop front/" + FETCH.format("custom", 'no matches for kind "Odd" in group ""'),
        ),
        (
            EXTERNAL,
            {},
            "external metric shop/queue/&LabelSelector{MatchLabels:map[string]string{q: x,},"
            "MatchExpressions:[]LabelSelectorRequirement{},}: "
            + FETCH.format(
                "external",
                "the server could not find the requested resource (get queue.external.metrics.k8s.io)",
            ),
        ),
    ],
)
def test_what_is_in_the_way_is_said_as_upstream_says_it(metric: dict[str, Any], served: Any, why: str) -> None:
    found = read(metric, served)
    assert isinstance(found, MetricError)
    assert str(found) == f"unable to get {why}"
