"""What is asked in a way that does not fit: of another's path, in a form that is none, of what is on its way out."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from keelback.testing.requests import Ask, with_server

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
MERGE = "application/merge-patch+json"
OTHER_NAME = "the name of the object (b) does not match the name on the URL (a)"
OTHER_NAMESPACE = "the namespace of the provided object does not match the namespace sent on the request"


async def have_deployment(ask: Ask) -> Any:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    status, made = await ask("POST", DEPLOYMENTS, {"metadata": {"name": "a"}, "spec": spec})
    assert status == 201, made
    return made


@with_server
async def test_the_object_is_the_one_in_the_path_whatever_is_written(ask: Ask) -> None:
    await have_deployment(ask)
    for part in ("", "/status", "/scale"):
        for metadata, told in (({"name": "b"}, OTHER_NAME), ({"namespace": "b"}, OTHER_NAMESPACE)):
            body = {"metadata": {"name": "a", **metadata}}
            for method, kind in (("PUT", "application/json"), ("PATCH", MERGE)):
                status, refused = await ask(method, f"{DEPLOYMENTS}/a{part}", body, kind=kind)
                assert (method, part, status, refused["message"]) == (method, part, 400, told)


@with_server
async def test_a_scale_of_another_uid_is_refused_by_the_scale(ask: Ask) -> None:
    uid = (await have_deployment(ask))["metadata"]["uid"]
    body = {"metadata": {"name": "a", "uid": "x"}, "spec": {"replicas": 2}}
    told = f"Precondition failed: UID in precondition: x, UID in object meta: {uid}"
    status, refused = await ask("PATCH", f"{DEPLOYMENTS}/a/scale", body, kind=MERGE)
    assert (status, refused["details"]["kind"]) == (409, "deployments/scale")
    assert refused["message"] == f'Operation cannot be fulfilled on deployments/scale.apps "a": {told}'
    status, refused = await ask("PUT", f"{DEPLOYMENTS}/a/scale", body)
    assert (status, refused["details"]["kind"]) == (409, "deployments")
    stored = "StorageError: invalid object, Code: 4, Key: /registry/deployments/default/a, ResourceVersion: 0"
    assert refused["message"] == (
        f'Operation cannot be fulfilled on deployments.apps "a": {stored}, AdditionalErrorMsg: {told}'
    )


@with_server
async def test_merge_patches_are_objects(ask: Ask) -> None:
    await ask("POST", CONFIG_MAPS, {"metadata": {"name": "a"}})
    into = "into Go value of type map[string]interface {}"
    for body, told in (
        (b"null", "Invalid JSON Patch"),
        (b"[]", f"error decoding patch: json: cannot unmarshal array {into}"),
        (b'"a"', f"error decoding patch: json: cannot unmarshal string {into}"),
    ):
        status, refused = await ask("PATCH", f"{CONFIG_MAPS}/a", body, kind=MERGE)
        assert (status, refused["message"]) == (400, told)


def form(name: str) -> str:
    return f"application/json;as={name};v=v1;g=meta.k8s.io"


@with_server
async def test_rows_show_all_of_their_objects_or_some_or_none(ask: Ask) -> None:
    status, refused = await ask("GET", f"{CONFIG_MAPS}?includeObject=All", accept=form("Table"))
    told = "includeObject: Invalid value: \"All\": must be 'Metadata', 'Object', 'None', or empty"
    assert (status, refused["message"]) == (400, f"Unable to convert to Table as requested: {told}")
    assert (await ask("GET", f"{CONFIG_MAPS}?includeObject=", accept=form("Table")))[0] == 200


@with_server
async def test_the_metadata_of_one_and_of_many_are_asked_for_by_their_names(ask: Ask) -> None:
    await have_deployment(ask)
    status, refused = await ask("GET", DEPLOYMENTS, accept=form("PartialObjectMetadata"))
    told = "you requested PartialObjectMetadata, but the requested object is a list (*apps.DeploymentList)"
    assert (status, refused["reason"], refused["message"]) == (406, "NotAcceptable", told)
    status, refused = await ask("GET", f"{DEPLOYMENTS}/a", accept=form("PartialObjectMetadataList"))
    told = "you requested PartialObjectMetadataList, but the requested object is not a list (*apps.Deployment)"
    assert (status, refused["message"]) == (406, told)


@pytest.mark.parametrize("name", ["system-node-critical", "system-cluster-critical"])
def test_the_systems_priority_classes_stay(name: str) -> None:
    @with_server
    async def test(ask: Ask) -> None:
        status, refused = await ask("DELETE", f"/apis/scheduling.k8s.io/v1/priorityclasses/{name}")
        told = f'priorityclasses.scheduling.k8s.io "{name}" is forbidden: '
        assert (status, refused["message"]) == (
            403,
            f"{told}this is a system priority class and cannot be deleted",
        )

    test()


@with_server
async def test_nothing_is_made_in_a_namespace_that_has_just_begun_to_go(ask: Ask) -> None:
    await ask("POST", "/api/v1/namespaces", {"metadata": {"name": "t"}})
    assert (await ask("DELETE", "/api/v1/namespaces/t"))[0] == 200
    status, refused = await ask("POST", "/api/v1/namespaces/t/configmaps", {"metadata": {"name": "a"}})
    told = "unable to create new content in namespace t because it is being terminated"
    assert (status, refused["message"]) == (403, f'configmaps "a" is forbidden: {told}')


@with_server
async def test_an_applied_configuration_is_an_object_with_a_name_that_is_text(ask: Ask) -> None:
    for body, status, told in (
        (
            b"- a",
            400,
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array",
        ),
        (b"", 400, "invalid object type: /, Kind="),
        (
            b"{apiVersion: v1, kind: ConfigMap, metadata: {name: y}}",
            500,
            "failed to create typed patch object (/; /v1, Kind=ConfigMap): .metadata.name: expected string, got &value",
        ),
    ):
        path = f"{CONFIG_MAPS}/y?fieldManager=m"
        found, refused = await ask("PATCH", path, body, kind="application/apply-patch+yaml")
        assert (found, refused["message"][: len(told)]) == (status, told)


@with_server
async def test_built_in_resources_have_only_the_paths_of_their_scope(ask: Ask) -> None:
    reviews = "/apis/authorization.k8s.io/v1"
    for method, path, expected in (
        ("GET", "/api/v1/namespaces/default/nodes", 404),
        ("GET", "/apis/apps/v1/deployments/x", 404),
        ("DELETE", "/api/v1/pods/x", 404),
        ("GET", f"{DEPLOYMENTS}/a/scale/x", 404),
        ("GET", "/api/v1/proxy/namespaces/default/pods/x", 404),
        ("GET", "/api/v1/watch/namespaces/default/pods/x/status", 404),
        ("POST", "/api/v1/bindings", 404),
        ("POST", f"{reviews}/localsubjectaccessreviews", 404),
        ("POST", f"{reviews}/namespaces/default/subjectaccessreviews", 404),
        ("POST", "/api/v1/configmaps", 405),
        ("DELETE", "/api/v1/configmaps", 405),
        ("POST", "/api/v1/watch/pods", 405),
        ("GET", "/api/v1/configmaps?fieldSelector=metadata.name=x", 200),
        ("GET", "/api/v1/namespaces/default/status", 200),
    ):
        status, answer = await ask(method, path)
        assert (method, path, status) == (method, path, expected)
        if status == 404:
            assert answer["message"] == "the server could not find the requested resource"


@with_server
async def test_evictions_of_the_beta_are_taken(ask: Ask) -> None:
    pods = "/api/v1/namespaces/default/pods"
    await ask("POST", pods, {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
    body = {"apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": {"name": "p"}}
    status, answer = await ask("POST", f"{pods}/p/eviction", body)
    assert (status, answer["status"]) == (201, "Success")


@with_server
async def test_the_addresses_of_a_new_service_fit_each_other(ask: Ask) -> None:
    for spec, told in (
        ({"clusterIPs": ["10.96.0.78"]}, "must be empty when `clusterIP` is not specified"),
        ({"clusterIP": "10.96.0.79", "clusterIPs": ["10.96.0.78"]}, "first value must match `clusterIP`"),
    ):
        body = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], **spec}}
        status, refused = await ask("POST", "/api/v1/namespaces/default/services", body)
        said = f'Service "s" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.78"]: {told}'
        assert (status, refused["message"]) == (422, said)


@with_server
async def test_a_json_patch_path_begins_at_its_first_slash(ask: Ask) -> None:
    await ask("POST", CONFIG_MAPS, {"metadata": {"name": "a"}, "data": {"b": "c"}})
    kind = "application/json-patch+json"
    patch = [{"op": "replace", "path": "x/data/b", "value": "d"}]
    status, patched = await ask("PATCH", f"{CONFIG_MAPS}/a", patch, kind=kind)
    assert (status, patched["data"]) == (200, {"b": "d"})
    assert (await ask("PATCH", f"{CONFIG_MAPS}/a", [{"op": "remove", "path": "data"}], kind=kind))[0] == 422


@with_server
async def test_a_custom_resource_gets_its_first_number_of_replicas_from_its_scale(ask: Ask) -> None:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    scale = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    definition = {
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{**version, "subresources": {"status": {}, "scale": scale}}],
        },
    }
    status, made = await ask("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
    assert status == 201, made
    widgets = "/apis/example.com/v1/namespaces/default/widgets"
    widget = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {}}
    for _ in range(1_000):
        status, _made = await ask("POST", widgets, widget)
        if status == 201:
            break
        await asyncio.sleep(0)
    status, refused = await ask("GET", f"{widgets}/w/scale")
    missing = 'the spec replicas field ".spec.replicas" does not exist'
    assert (status, refused["message"]) == (500, f"Internal error occurred: {missing}")
    assert refused["details"] == {"causes": [{"message": missing}]}
    status, refused = await ask("PATCH", f"{widgets}/w/scale", {"metadata": {}}, kind=MERGE)
    assert (status, refused["message"]) == (400, 'the spec replicas field ".spec.replicas" cannot be empty')
    status, refused = await ask("PATCH", f"{widgets}/w/scale", {"spec": {"replicas": -3}}, kind=MERGE)
    told = ".spec.replicas: Invalid value: -3: should be a non-negative integer"
    assert (status, refused["message"]) == (422, f'Widget.example.com "w" is invalid: {told}')
    status, scaled = await ask("PATCH", f"{widgets}/w/scale", {"spec": {"replicas": 5}}, kind=MERGE)
    assert (status, scaled["spec"]) == (200, {"replicas": 5})
    status, scaled = await ask("PUT", f"{widgets}/w/scale", {"metadata": {"name": "w"}, "spec": {"replicas": 2}})
    assert (status, scaled["spec"]) == (200, {"replicas": 2})
    assert (await ask("POST", "/apis/example.com/v1/widgets", widget))[0] == 404
