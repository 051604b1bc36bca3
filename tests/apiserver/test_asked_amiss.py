"""What is asked in a way that does not fit: of another's path, in a form that is none, of what is on its way out."""

from __future__ import annotations

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
    status, refused = await ask("PUT", f"{DEPLOYMENTS}/a/scale", body)
    assert (status, refused["details"]["kind"]) == (409, "deployments/scale")
    told = f"Precondition failed: UID in precondition: x, UID in object meta: {uid}"
    assert refused["message"] == f'Operation cannot be fulfilled on deployments/scale.apps "a": {told}'


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
