"""What the conformance suite demands of discovery, of the server's version and of tables."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from keelback.testing.requests import Ask, with_server

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
BUILT_IN = {
    "/api": {("", "v1", "namespaces"), ("", "v1", "pods"), ("", "v1", "services")},
    "/apis": {
        ("apps", "v1", "deployments"),
        ("batch", "v1", "jobs"),
        ("rbac.authorization.k8s.io", "v1", "roles"),
        ("apiextensions.k8s.io", "v1", "customresourcedefinitions"),
        ("apiregistration.k8s.io", "v1", "apiservices"),
    },
}


def resources(document: Any) -> set[tuple[str, str, str]]:
    """Group, version and plural of all that an aggregated document has."""
    return {
        (group["metadata"].get("name", ""), version["version"], one["resource"])
        for group in document["items"]
        for version in group["versions"]
        for one in version["resources"]
    }


async def until(ask: Ask, path: str, accept: str, wanted: Callable[[Any], bool]) -> None:
    """Ask until the document has what is wanted."""
    while True:
        if wanted((await ask("GET", path, accept=accept))[1]):
            return
        await asyncio.sleep(0)


async def define(ask: Ask) -> None:
    schema = {"openAPIV3Schema": {"type": "object"}}
    versions = [{"name": "v1", "served": True, "storage": True, "schema": schema}]
    names = {"plural": "widgets", "kind": "Widget"}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": versions}
    status, made = await ask("POST", DEFINITIONS, {"metadata": {"name": "widgets.example.com"}, "spec": spec})
    assert status == 201, made


@with_server
async def test_each_group_prefers_a_version_that_it_has(ask: Ask) -> None:
    _, groups = await ask("GET", "/apis")
    assert len(groups["groups"]) > 10
    for group in groups["groups"]:
        _, one = await ask("GET", f"/apis/{group['name']}")
        assert one["preferredVersion"] == group["preferredVersion"]
        assert group["preferredVersion"] in group["versions"]
        for version in group["versions"]:
            _, listed = await ask("GET", f"/apis/{version['groupVersion']}")
            assert listed["groupVersion"] == version["groupVersion"]
            assert listed["groupVersion"] == f"{group['name']}/{version['version']}"
            assert all(one["name"] and one["kind"] and one["verbs"] for one in listed["resources"])
            assert listed["resources"]


@with_server
async def test_definitions_of_custom_resources_are_in_all_documents(ask: Ask) -> None:
    wanted = {"groupVersion": "apiextensions.k8s.io/v1", "version": "v1"}
    _, groups = await ask("GET", "/apis")
    (found,) = [one for one in groups["groups"] if one["name"] == "apiextensions.k8s.io"]
    assert wanted in found["versions"]
    _, group = await ask("GET", "/apis/apiextensions.k8s.io")
    assert wanted in group["versions"]
    _, listed = await ask("GET", "/apis/apiextensions.k8s.io/v1")
    assert "customresourcedefinitions" in {one["name"] for one in listed["resources"]}


@with_server
async def test_the_aggregated_documents_have_all_that_is_built_in(ask: Ask) -> None:
    for path, wanted in BUILT_IN.items():
        for accept in (AGGREGATED, f"{AGGREGATED},application/json", f"application/json,{AGGREGATED}"):
            status, document = await ask("GET", path, accept=accept)
            assert (status, document["kind"]) == (200, "APIGroupDiscoveryList")
            assert wanted <= resources(document)
        status, plain = await ask("GET", path, accept="application/json")
        assert (status, plain["kind"]) == (200, "APIVersions" if path == "/api" else "APIGroupList")


@with_server
async def test_the_aggregated_document_has_a_custom_resource_once_it_is_served(ask: Ask) -> None:
    _, document = await ask("GET", "/apis", accept=AGGREGATED)
    widgets = ("example.com", "v1", "widgets")
    assert widgets not in resources(document)
    await define(ask)
    await until(ask, "/apis", AGGREGATED, lambda document: widgets in resources(document))
    assert (await ask("GET", "/apis/example.com/v1/widgets"))[0] == 200


@with_server
async def test_the_version_is_two_numbers(ask: Ask) -> None:
    status, version = await ask("GET", "/version")
    assert status == 200
    assert (int(version["major"]), int(version["minor"])) == (1, 36)


@with_server
async def test_what_has_no_metadata_makes_no_table(ask: Ask) -> None:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"namespace": "default", "verb": "get", "resource": "pods"}},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    status, refused = await ask("POST", path, review, accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    assert (status, refused["reason"]) == (406, "NotAcceptable")
