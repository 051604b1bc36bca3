"""What clients learn from the OpenAPI documents, and how they may ask for them."""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from datetime import UTC, datetime
from typing import Any

import pytest

from keelback.api import apps_v1, authorization_v1, core_v1
from keelback.apimachinery.meta import make_kind
from keelback.apiserver import openapi_protobuf, openapi_v3_protobuf
from keelback.apiserver.context import RequestContext
from keelback.apiserver.discovery import Served
from keelback.apiserver.openapi import OpenAPI, RemoteDocuments
from keelback.apiserver.openapi_schemas import V3_PREFIX, custom_resource_schemas
from keelback.apiserver.request_info import parse
from keelback.auth.users import UserInfo
from keelback.component.http import Request, Response

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
WIDGET = make_kind("ex.example.com/v1", "Widget", "widgets")
SERVED = [
    Served(core_v1.Pod.__kind__, VERBS, ("status", "exec", "log", "eviction", "proxy")),
    Served(core_v1.Namespace.__kind__, VERBS, ("status", "finalize")),
    Served(apps_v1.Deployment.__kind__, VERBS, ("scale", "status")),
    Served(authorization_v1.SubjectAccessReview.__kind__, ("create",), is_stored=False),
]
PROTOBUF = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
PROTOBUF_V3 = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"


def make(served: list[Served] | None = None) -> OpenAPI:
    listed = SERVED if served is None else served
    return OpenAPI(lambda: listed, "v1.36.0")


def ask(openapi: OpenAPI, path: str, **headers: str) -> Response:
    path, _, query = path.partition("?")
    request = Request("GET", path, query, {key.replace("_", "-"): value for key, value in headers.items()})
    context = RequestContext(request, parse(request), UserInfo("jane"), datetime(2026, 1, 1, tzinfo=UTC))
    handle = openapi.v2 if path == "/openapi/v2" else openapi.v3
    answer = asyncio.run(_answer(handle, context))
    assert isinstance(answer, Response)
    return answer


async def _answer(handle: Any, context: RequestContext) -> Any:
    return await handle(context)


def document(openapi: OpenAPI, path: str) -> Any:
    answer = ask(openapi, path)
    assert answer.status == 200
    return json.loads(answer.content())


def dangling(tree: Any, known: set[str]) -> set[str]:
    return set(re.findall(r'"\$ref": "([^"]*)"', json.dumps(tree))) - known


@pytest.fixture(scope="module")
def v2() -> Any:
    return document(make(), "/openapi/v2")


@pytest.fixture(scope="module")
def apps() -> Any:
    return document(make(), "/openapi/v3/apis/apps/v1")


@pytest.fixture(scope="module")
def core() -> Any:
    return document(make(), "/openapi/v3/api/v1")


def test_the_index_names_every_group_and_version_with_a_hash() -> None:
    answer = ask(make(), "/openapi/v3")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    paths = json.loads(answer.content())["paths"]
    assert {"api", "api/v1", "apis", "apis/apps", "apis/apps/v1", "apis/authorization.k8s.io/v1"} <= set(paths)
    assert re.fullmatch(r"/openapi/v3/apis/apps/v1\?hash=[0-9A-F]{128}", paths["apis/apps/v1"]["serverRelativeURL"])


def test_every_document_of_the_index_is_there_and_refers_to_what_it_has() -> None:
    openapi = make()
    for entry in document(openapi, "/openapi/v3")["paths"].values():
        made = document(openapi, entry["serverRelativeURL"])
        assert made["openapi"] == "3.0.0"
        assert made["paths"]
        assert not dangling(made, {V3_PREFIX + name for name in made["components"]["schemas"]})


def test_version_2_refers_to_what_it_has(v2: Any) -> None:
    known = {f"#/definitions/{name}" for name in v2["definitions"]} | {
        f"#/parameters/{one}" for one in v2["parameters"]
    }
    assert not dangling(v2, known)


def test_a_current_hash_may_be_cached_for_ever_and_a_stale_one_leads_to_it() -> None:
    openapi = make()
    url = document(openapi, "/openapi/v3")["paths"]["api/v1"]["serverRelativeURL"]
    current = ask(openapi, url)
    assert (current.status, current.headers["cache-control"]) == (200, "public, immutable")
    assert current.headers["expires"] == "Fri, 01 Jan 2027 00:00:00 GMT"
    stale = ask(openapi, "/openapi/v3/api/v1?hash=00")
    assert (stale.status, stale.headers["location"]) == (301, url)


def test_an_etag_that_matches_is_not_modified() -> None:
    openapi = make()
    for path in ("/openapi/v2", "/openapi/v3/api/v1"):
        tag = ask(openapi, path).headers["etag"]
        again = ask(openapi, path, if_none_match=tag)
        assert (again.status, again.content()) == (304, b"")
        assert ask(openapi, path, if_none_match='"other"').status == 200


def test_only_forms_that_there_are_are_given() -> None:
    openapi = make()
    for accept in ("", "*/*", "application/json", "text/html, application/json;q=0.5", f"application/json, {PROTOBUF}"):
        assert ask(openapi, "/openapi/v2", accept=accept).headers["content-type"] == "application/json"
    answer = ask(openapi, "/openapi/v2", accept=PROTOBUF)
    assert answer.headers["content-type"] == "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    for path, accept in (("/openapi/v2", "text/html"), ("/openapi/v3/api/v1", PROTOBUF)):
        answer = ask(openapi, path, accept=accept)
        assert (answer.status, answer.content()) == (406, b"")
    # What there is, is told to everybody.
    assert ask(openapi, "/openapi/v3", accept="text/html").status == 200


def test_what_is_not_served_is_not_found() -> None:
    for path in ("/openapi/v3/apis/batch/v1", "/openapi/v3/nothing", "/openapi/v3/v2"):
        answer = ask(make(), path)
        assert (answer.status, answer.content()) == (404, b"")


def test_operations_say_what_they_do_and_with_which_kind(v2: Any) -> None:
    item = v2["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"]
    assert item["put"]["operationId"] == "replaceAppsV1NamespacedDeploymentScale"
    assert item["put"]["x-kubernetes-action"] == "put"
    assert item["put"]["x-kubernetes-group-version-kind"] == {"group": "autoscaling", "kind": "Scale", "version": "v1"}
    assert item["get"]["responses"]["200"]["schema"]["$ref"] == "#/definitions/io.k8s.api.autoscaling.v1.Scale"
    listing = v2["paths"]["/api/v1/pods"]["get"]
    assert (listing["operationId"], listing["x-kubernetes-action"]) == ("listCoreV1PodForAllNamespaces", "list")
    assert listing["responses"]["200"]["schema"]["$ref"].endswith("core.v1.PodList")
    assert v2["paths"]["/api/v1/namespaces/{name}/finalize"]["put"]["operationId"] == "replaceCoreV1NamespaceFinalize"


def test_writes_take_field_validation_and_applies_take_force(apps: Any) -> None:
    item = apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]
    names = [one["name"] for one in item["patch"]["parameters"]]
    assert names == ["dryRun", "fieldManager", "fieldValidation", "force"]
    assert "application/apply-patch+yaml" in item["patch"]["requestBody"]["content"]
    assert [one["name"] for one in item["parameters"]] == ["name", "namespace", "pretty"]
    assert item["parameters"][0]["schema"] == {"type": "string", "uniqueItems": True}
    body = item["put"]["requestBody"]
    assert body["required"]
    assert body["content"]["*/*"]["schema"] == {"$ref": V3_PREFIX + "io.k8s.api.apps.v1.Deployment"}


def test_paths_end_where_the_resources_do(v2: Any) -> None:
    paths = set(v2["paths"])
    reviews = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    assert list(v2["paths"][reviews]) == ["post", "parameters"]
    assert f"{reviews}/{{name}}" not in paths
    assert "/api/v1/namespaces/{namespace}/pods/{name}/proxy/{path}" in paths
    assert "/api/v1/watch/namespaces/{namespace}/pods/{name}" in paths
    assert not any("configmaps" in path for path in paths)


def test_schemas_keep_what_merging_and_explaining_need(core: Any) -> None:
    schemas = core["components"]["schemas"]
    containers = schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert containers["x-kubernetes-list-map-keys"] == ["name"]
    assert containers["x-kubernetes-patch-strategy"] == "merge"
    assert containers["type"] == "array"
    pod = schemas["io.k8s.api.core.v1.Pod"]
    assert pod["x-kubernetes-group-version-kind"] == [{"group": "", "kind": "Pod", "version": "v1"}]
    assert "enum" not in pod["properties"]["kind"]
    assert pod["properties"]["spec"]["allOf"] == [{"$ref": V3_PREFIX + "io.k8s.api.core.v1.PodSpec"}]
    quantity = schemas["io.k8s.apimachinery.pkg.api.resource.Quantity"]
    assert quantity["oneOf"] == [{"type": "string"}, {"type": "number"}]
    assert quantity["description"].startswith("Quantity is a fixed-point")


def test_version_2_says_a_reference_beside_its_description(v2: Any) -> None:
    spec = v2["definitions"]["io.k8s.api.core.v1.Pod"]["properties"]["spec"]
    assert spec["$ref"] == "#/definitions/io.k8s.api.core.v1.PodSpec"
    assert spec["description"].startswith("Specification of the desired behavior")
    quantity = v2["definitions"]["io.k8s.apimachinery.pkg.api.resource.Quantity"]
    assert quantity["type"] == "string"


def test_documents_follow_what_is_served() -> None:
    served = SERVED[:2]
    openapi = make(served)
    before = document(openapi, "/openapi/v3")["paths"]
    assert ask(openapi, "/openapi/v2").status == 200
    served.append(SERVED[2])
    after = document(openapi, "/openapi/v3")["paths"]
    assert set(after) - set(before) == {"apis/apps", "apis/apps/v1"}
    assert after["api/v1"] == before["api/v1"]
    assert "/apis/apps/v1/deployments" in document(openapi, "/openapi/v2")["paths"]
    assert document(openapi, "/openapi/v3/apis/apps/v1")
    served.pop()
    assert ask(openapi, "/openapi/v3/apis/apps/v1").status == 404


WIDGET_SCHEMA = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "size": {"type": "integer", "default": 1},
                "port": {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True},
                "maybe": {"type": "string", "nullable": True},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            },
        }
    },
}


def with_widgets() -> OpenAPI:
    openapi = make([*SERVED, Served(WIDGET, VERBS, ("scale", "status"))])
    schemas = custom_resource_schemas("ex.example.com", "v1", "Widget", "WidgetList", WIDGET_SCHEMA)
    openapi.set_schemas("ex.example.com", "v1", "gadgets", schemas)
    return openapi


def test_custom_resources_are_described_too() -> None:
    made = document(with_widgets(), "/openapi/v3/apis/ex.example.com/v1")
    base = "/apis/ex.example.com/v1/namespaces/{namespace}/widgets"
    assert set(made["paths"]) - {"/apis/ex.example.com/v1/"} == {
        base,
        f"{base}/{{name}}",
        f"{base}/{{name}}/scale",
        f"{base}/{{name}}/status",
        "/apis/ex.example.com/v1/widgets",
    }
    schemas = made["components"]["schemas"]
    assert {"com.example.ex.v1.Widget", "com.example.ex.v1.WidgetList"} <= set(schemas)
    widget = schemas["com.example.ex.v1.Widget"]
    assert widget["properties"]["spec"] == WIDGET_SCHEMA["properties"]["spec"]
    assert widget["properties"]["metadata"]["allOf"][0]["$ref"].endswith("ObjectMeta")
    assert widget["x-kubernetes-group-version-kind"] == [{"group": "ex.example.com", "kind": "Widget", "version": "v1"}]
    patch = made["paths"][f"{base}/{{name}}"]["patch"]
    assert patch["operationId"] == "patchComExampleExV1NamespacedWidget"
    assert "application/strategic-merge-patch+json" not in patch["requestBody"]["content"]


def test_version_2_of_a_custom_resource_never_refuses_what_is_accepted() -> None:
    made = document(with_widgets(), "/openapi/v2")["definitions"]["com.example.ex.v1.Widget"]
    fields = made["properties"]["spec"]["properties"]
    assert fields["size"] == {"type": "integer"}
    assert fields["port"] == {"x-kubernetes-int-or-string": True}
    assert fields["maybe"] == {}
    assert fields["free"] == {"x-kubernetes-preserve-unknown-fields": True}
    assert made["properties"]["metadata"]["$ref"].startswith("#/definitions/")


def test_a_resource_without_a_schema_is_any_object() -> None:
    openapi = make([Served(WIDGET, VERBS)])
    made = document(openapi, "/openapi/v3/apis/ex.example.com/v1")
    answer = made["paths"]["/apis/ex.example.com/v1/widgets"]["get"]["responses"]["200"]
    assert answer["content"]["application/json"]["schema"] == {"type": "object"}


def test_forgotten_schemas_are_gone() -> None:
    openapi = with_widgets()
    openapi.set_schemas("ex.example.com", "v1", "gadgets", {})
    made = document(openapi, "/openapi/v3/apis/ex.example.com/v1")
    assert "com.example.ex.v1.Widget" not in made["components"]["schemas"]


def fields_of(data: bytes) -> list[tuple[int, Any]]:
    """A message's fields, as (number, bytes or number)."""
    found: list[tuple[int, Any]] = []
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        tag = varint()
        if tag & 7 == 2:
            length = varint()
            found.append((tag >> 3, data[at : at + length]))
            at += length
        elif tag & 7 == 1:
            found.append((tag >> 3, data[at : at + 8]))
            at += 8
        else:
            assert tag & 7 == 0
            found.append((tag >> 3, varint()))
    assert at == len(data)
    return found


def named(data: bytes, number: int = 1) -> dict[str, bytes]:
    entries = [dict(fields_of(one)) for found, one in fields_of(data) if found == number]
    return {entry[1].decode(): entry[2] for entry in entries}


def test_the_protobuf_form_says_the_same(v2: Any) -> None:
    whole = dict(fields_of(ask(make(), "/openapi/v2", accept=PROTOBUF).content()))
    assert whole[1] == b"2.0"
    assert named(whole[8], 2).keys() == v2["paths"].keys()
    definitions = named(whole[9])
    assert definitions.keys() == v2["definitions"].keys()
    assert named(whole[10]).keys() == v2["parameters"].keys()
    pod = dict(fields_of(definitions["io.k8s.api.core.v1.Pod"]))
    properties = named(pod[25])
    assert list(properties) == list(v2["definitions"]["io.k8s.api.core.v1.Pod"]["properties"])
    assert dict(fields_of(properties["spec"]))[1] == b"#/definitions/io.k8s.api.core.v1.PodSpec"
    extensions = named(definitions["io.k8s.api.core.v1.Pod"], 31)
    assert json.loads(dict(fields_of(extensions["x-kubernetes-group-version-kind"]))[2])[0]["kind"] == "Pod"


def test_the_protobuf_form_of_a_schema() -> None:
    schema = {"type": "number", "minimum": 0.5, "maxLength": 3, "enum": ["a"], "default": 1, "uniqueItems": True}
    tree = {
        "swagger": "2.0",
        "info": {"title": "t", "version": "v"},
        "paths": {},
        "parameters": {},
        "definitions": {"one": schema | {"additionalProperties": False, "items": {"type": "string"}}},
        "security": [{"BearerToken": []}],
        "securityDefinitions": {"BearerToken": {"type": "apiKey", "name": "n", "in": "header", "description": ""}},
    }
    made = dict(fields_of(named(dict(fields_of(openapi_protobuf.encode(tree)))[9])["one"]))
    assert made[9] == b"\x00\x00\x00\x00\x00\x00\xe0\x3f"
    assert (made[11], made[16]) == (3, 1)
    assert dict(fields_of(made[21])) == {2: 0}
    assert dict(fields_of(made[22])) == {1: b"number"}


def test_the_protobuf_form_of_version_3_says_the_same(apps: Any) -> None:
    openapi = make()
    url = ask(openapi, "/openapi/v3/apis/apps/v1").headers["etag"].strip('"')
    answer = ask(openapi, f"/openapi/v3/apis/apps/v1?hash={url}", accept=f"{PROTOBUF_V3}, application/json")
    assert (answer.headers["content-type"], answer.headers["etag"]) == (PROTOBUF_V3, f'"{url}"')
    assert answer.headers["cache-control"] == "public, immutable"
    again = ask(openapi, "/openapi/v3/apis/apps/v1", accept=PROTOBUF_V3, if_none_match=f'"{url}"')
    assert (again.status, again.content()) == (304, b"")
    old_name = PROTOBUF_V3.replace(".v1.0", "@v1.0")
    assert ask(openapi, "/openapi/v3/apis/apps/v1", accept=old_name).content() == answer.content()
    whole = dict(fields_of(answer.content()))
    assert whole[1] == b"3.0.0"
    paths = named(whole[4])
    assert paths.keys() == apps["paths"].keys()
    path = "/apis/apps/v1/namespaces/{namespace}/deployments"
    operations = dict(fields_of(paths[path]))
    assert operations.keys() == {4, 6, 7, 13}
    create = dict(fields_of(operations[6]))
    assert create[5].decode() == apps["paths"][path]["post"]["operationId"]
    assert named(create[8], 2).keys() == apps["paths"][path]["post"]["responses"].keys()
    body = dict(fields_of(dict(fields_of(create[7]))[1]))
    reference = f"{V3_PREFIX}io.k8s.api.apps.v1.Deployment".encode()
    [content] = named(body[2]).values()
    assert dict(fields_of(dict(fields_of(dict(fields_of(content))[1]))[2])) == {1: reference}
    components = dict(fields_of(whole[5]))
    schemas = named(components[1])
    assert schemas.keys() == apps["components"]["schemas"].keys()
    assert named(components[7]).keys() == {"BearerToken"}
    deployment = dict(fields_of(schemas["io.k8s.api.apps.v1.Deployment"]))
    kind = dict(fields_of(deployment[1]))
    assert list(named(kind[31])) == list(apps["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"]["properties"])


def test_the_protobuf_form_of_a_schema_of_version_3() -> None:
    schema = {
        "nullable": True,
        "minimum": 0.5,
        "minLength": 2,
        "default": {},
        "enum": ["a"],
        "oneOf": [{"type": "string"}, {"$ref": "#/x"}],
        "not": {"type": "boolean"},
        "additionalProperties": {"type": "integer", "default": 4},
        "x-kubernetes-list-type": "atomic",
    }
    tree = {"openapi": "3.0.0", "info": {"title": "t", "version": "v"}, "components": {"schemas": {"one": schema}}}
    components = dict(fields_of(openapi_v3_protobuf.encode(tree)))[5]
    made = dict(fields_of(dict(fields_of(named(dict(fields_of(components))[1])["one"]))[1]))
    assert (made[1], made[13], made[16], made[33]) == (1, b"\x00\x00\x00\x00\x00\x00\xe0\x3f", 2, b"")
    assert dict(fields_of(made[24])) == {2: b'"a"\n'}
    assert dict(fields_of(made[27])) == {2: b"\x0a\x03#/x"}
    assert dict(fields_of(made[29])) == {25: b"boolean"}
    more = dict(fields_of(dict(fields_of(dict(fields_of(made[32]))[1]))[1]))
    assert (more[25], more[33]) == (b"integer", b"\x09\x00\x00\x00\x00\x00\x00\x10\x40")
    assert made[36].startswith(b"\x0a\x16x-kubernetes-list-type")


def test_another_servers_document_is_given_in_protobuf_as_far_as_it_can_be_said() -> None:
    openapi = make()
    good = {"openapi": "3.0.0", "info": {"title": "t", "version": "v"}, "paths": {"/apis/a/v1/": {}}}
    documents = {
        place: zlib.compress(json.dumps(one).encode())
        for place, one in {"apis/a/v1": good, "apis/a/v2": {**good, "paths": [1]}}.items()
    }
    openapi.set_remote("v1.a", RemoteDocuments(documents=documents))
    answer = ask(openapi, "/openapi/v3/apis/a/v1", accept=PROTOBUF_V3)
    assert list(named(dict(fields_of(answer.content()))[4])) == ["/apis/a/v1/"]
    assert ask(openapi, "/openapi/v3/apis/a/v2", accept=PROTOBUF_V3).status == 406
    assert ask(openapi, "/openapi/v3/apis/a/v2").status == 200


def test_who_asks_for_a_document_in_the_making_gets_that_one() -> None:
    openapi = make()

    async def both() -> tuple[Response, Response]:
        request = Request("GET", "/openapi/v3/api/v1")
        context = RequestContext(request, parse(request), UserInfo("jane"), datetime(2026, 1, 1, tzinfo=UTC))
        leaving = asyncio.ensure_future(_answer(openapi.v3, context))
        await asyncio.sleep(0)
        staying = [asyncio.ensure_future(_answer(openapi.v3, context)) for _ in range(2)]
        await asyncio.sleep(0)
        leaving.cancel()
        one, other = await asyncio.gather(*staying)
        return one, other

    one, other = asyncio.run(both())
    assert one.body is other.body
    assert json.loads(one.content())["openapi"] == "3.0.0"
