"""Python functions of a test that take part in its cluster: webhooks and controllers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from keelback.apimachinery import errors
from keelback.testing.cluster import Cluster
from keelback.testing.webhook_functions import AdmissionRequest, Refused

DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: sites.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: sites, singular: site, kind: Site}
  versions:
    - name: v1
      served: true
      storage: true
      subresources: {status: {}}
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec: {type: object, properties: {pages: {type: array, items: {type: string}}}}
            status: {type: object, properties: {pages: {type: integer}}}
"""


@pytest.fixture
def calm() -> Iterator[Cluster]:
    with Cluster(nodes=1) as running:
        yield running


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def site(*pages: str) -> dict[str, Any]:
    return {"apiVersion": "example.com/v1", "kind": "Site", "metadata": {"name": "blog"}, "spec": {"pages": [*pages]}}


def test_a_function_changes_what_is_stored(calm: Cluster) -> None:
    told: list[tuple[str, str, str]] = []

    def sign(request: AdmissionRequest) -> dict[str, Any] | None:
        told.append((request.operation, request.name, request.user))
        if "unsigned" in request.object["data"]:
            return None
        request.object["data"]["signed-by"] = request.user
        return request.object

    calm.mutate("configmaps", sign, objectSelector={"matchLabels": {"sign": "yes"}})
    [plain] = calm.apply(config_map("plain", key="value"))
    assert plain["data"] == {"key": "value"}
    labelled = config_map("labelled", key="value")
    labelled["metadata"]["labels"] = {"sign": "yes"}
    [signed] = calm.apply(labelled)
    assert signed["data"] == {"key": "value", "signed-by": "kubernetes-admin"}
    assert told == [("CREATE", "labelled", "kubernetes-admin")]
    left = labelled | {"metadata": labelled["metadata"] | {"name": "left"}, "data": {"unsigned": ""}}
    assert calm.apply(left)[0]["data"] == {"unsigned": ""}


def test_a_function_refuses_and_is_there_after_a_snapshot_is_restored(calm: Cluster) -> None:
    def only_small(request: AdmissionRequest) -> None:
        if request.object["spec"]["replicas"] > 3:
            raise Refused("too large", code=422)

    def broken(request: AdmissionRequest) -> None:
        raise ValueError("a defect")

    calm.validate("deployments", only_small)
    calm.validate("secrets", broken)
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "one"}]}}
    spec = {"replicas": 4, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    large = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}
    said = r'admission webhook "only-small\.functions\.keelback\.dev" denied the request: too large'
    for _ in range(2):
        with pytest.raises(errors.StatusError, match=said) as refused:
            calm.apply(large)
        assert refused.value.status.code == 422
        calm.restore(calm.snapshot())
    with pytest.raises(errors.InternalError, match="ValueError: a defect"):
        calm.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}})


def test_a_function_controls_what_belongs_to_an_object(calm: Cluster) -> None:
    def publish(parent: dict[str, Any], children: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        pages = parent["spec"]["pages"]
        for page in pages:
            yield config_map(f"{parent['metadata']['name']}-{page}", text=page)
        yield parent | {"status": {"pages": len(children)}}

    def names() -> list[str]:
        return [
            one["metadata"]["name"] for one in calm.list("configmaps") if one["metadata"]["name"].startswith("blog")
        ]

    calm.apply(DEFINITION)
    calm.control("sites", publish)
    calm.apply(site("home", "about"))
    calm.wait("site/blog", "status.pages=2")
    assert names() == ["blog-about", "blog-home"]
    calm.delete("configmap/blog-home")
    calm.advance(1)
    assert names() == ["blog-about", "blog-home"]
    calm.stop_component("publish")
    calm.apply(site("home"))
    calm.advance(10)
    assert names() == ["blog-about", "blog-home"]
    calm.start_component("publish")
    calm.wait("configmap/blog-about", "deleted")
    calm.delete("site/blog")
    calm.wait("configmap/blog-home", "deleted")
