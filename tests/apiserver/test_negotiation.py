"""What is answered to Accept headers: by the routes of built-in kinds, by those of custom ones, by discovery."""

from __future__ import annotations

from typing import Any

import pytest

from keelback.apimachinery.errors import NotAcceptable
from keelback.apiserver import negotiation
from keelback.apiserver.negotiation import JSON, PROTOBUF, YAML, Accepted
from keelback.testing.requests import Ask, with_server

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
META = "g=meta.k8s.io;v=v1"
ROUTED = f"406: Not Acceptable\n\nAvailable representations: {JSON}, {YAML}, {PROTOBUF}"
UNROUTED = f"only the following media types are accepted: {JSON}, {YAML}, {PROTOBUF}"
AGGREGATED = "g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


@pytest.mark.parametrize(
    ("accept", "told"),
    [
        ("text/html", ROUTED),
        ("application/*", ROUTED),
        ("text/yaml", ROUTED),
        ("application/cbor", ROUTED),
        ("bogus", ROUTED),
        (f"{JSON};as=Foo;{META}", UNROUTED),
        (f"{JSON};as=Table;g=meta.k8s.io;v=v2", UNROUTED),
        (f"{JSON};as=Table", UNROUTED),
        (f"{JSON};{META}", UNROUTED),
        (f"{PROTOBUF};as=Table;{META}", UNROUTED),
        (f"{JSON};stream=other", UNROUTED),
        (f"{YAML};stream=watch", UNROUTED),
        (f"{JSON};sv=v1", UNROUTED),
    ],
)
def test_what_is_not_acceptable(accept: str, told: str) -> None:
    with pytest.raises(NotAcceptable) as refused:
        negotiation.negotiate(accept)
    assert refused.value.message == told


def test_custom_resources_know_more_wildcards_and_no_routes() -> None:
    assert negotiation.negotiate("application/*", is_routed=False) == Accepted(JSON)
    with pytest.raises(NotAcceptable, match="only the following media types"):
        negotiation.negotiate("text/html", is_routed=False)


def test_a_client_gets_the_first_that_can_be_given() -> None:
    for accept, expected in (
        (f"{JSON};as=Foo;{META},{YAML}", Accepted(YAML)),
        (f"{PROTOBUF};as=Table;{META}, */*;q=0.1", Accepted(JSON)),
        (f"*/*;as=Table;{META}", Accepted(JSON, "Table")),
        (
            f"{YAML};as=PartialObjectMetadata;g=meta.k8s.io;v=v1beta1",
            Accepted(YAML, "PartialObjectMetadata", "v1beta1"),
        ),
    ):
        assert negotiation.negotiate(accept) == expected


@with_server
async def test_lists_could_be_watched_too(ask: Ask) -> None:
    _, refused = await ask("GET", CONFIG_MAPS, accept="text/html")
    assert refused["message"] == f"{ROUTED}, {JSON};stream=watch, {PROTOBUF};stream=watch"
    status, refused = await ask("GET", f"{CONFIG_MAPS}/a", accept="text/html")
    assert (status, refused["message"]) == (406, ROUTED)


@with_server
async def test_who_takes_only_a_table_is_told_of_failures_in_plain(ask: Ask) -> None:
    accept = f"{YAML};as=Table;{META}"
    status, refused = await ask("GET", f"{CONFIG_MAPS}/a", accept=accept)
    assert (status, refused["kind"], refused["reason"]) == (404, "Status", "NotFound")


@with_server
async def test_the_version_is_json_and_nothing_else(ask: Ask) -> None:
    for accept in ("text/html", "application/*"):
        status, refused = await ask("GET", "/version", accept=accept)
        assert (status, refused["message"]) == (406, f"406: Not Acceptable\n\nAvailable representations: {JSON}")
    assert (await ask("GET", "/version", accept=f"{JSON};as=Table;{META}"))[0] == 200


@with_server
async def test_discovery_takes_no_transformation_but_its_own(ask: Ask) -> None:
    for path in ("/api", "/apis", "/api/v1", "/apis/apps", "/apis/apps/v1"):
        for accept in (f"{JSON};as=Table;{META}", f"{JSON};{AGGREGATED}".replace("v=v2", "v=v2beta1")):
            status, refused = await ask("GET", path, accept=accept)
            assert (path, status, refused["message"]) == (path, 406, UNROUTED)
        status, refused = await ask("GET", path, accept="text/html")
        told = UNROUTED if path in ("/apis", "/apis/apps") else ROUTED
        assert (path, status, refused["message"]) == (path, 406, told)
    for path in ("/apis", "/apis/apps"):
        # These are no routes: nobody looks at the method.
        assert (await ask("POST", path))[0] == 200
    status, document = await ask("GET", "/apis", accept=f"{YAML};{AGGREGATED}")
    assert (status, document.startswith("apiVersion: apidiscovery.k8s.io/v2\n")) == (200, True)


async def have_deployment(ask: Ask) -> Any:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": 3, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    status, made = await ask("POST", DEPLOYMENTS, {"metadata": {"name": "d"}, "spec": spec})
    assert status == 201, made
    return made


@with_server
async def test_a_scale_is_shown_as_a_table_and_as_metadata(ask: Ask) -> None:
    made = await have_deployment(ask)
    scale = f"{DEPLOYMENTS}/d/scale"
    status, table = await ask("GET", scale, accept=f"{JSON};as=Table;{META}")
    assert (status, table["kind"]) == (200, "Table")
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Desired", "Available", "Age"]
    (row,) = table["rows"]
    assert (row["cells"][:3], row["object"]["kind"]) == (["d", 3, 0], "PartialObjectMetadata")
    assert table["metadata"] == {"resourceVersion": made["metadata"]["resourceVersion"]}
    status, metadata = await ask("GET", scale, accept=f"{JSON};as=PartialObjectMetadata;{META}")
    assert (status, metadata["kind"], metadata["metadata"]["name"]) == (200, "PartialObjectMetadata", "d")
    patch = {"spec": {"replicas": 5}}
    kind = "application/merge-patch+json"
    _, table = await ask("PATCH", scale, patch, kind=kind, accept=f"{JSON};as=Table;{META}")
    assert table["rows"][0]["cells"][1] == 5
    status, refused = await ask("GET", scale, accept=f"{JSON};as=PartialObjectMetadataList;{META}")
    told = "you requested PartialObjectMetadataList, but the requested object is not a list (*autoscaling.Scale)"
    assert (status, refused["message"]) == (406, told)
