"""What the conformance suite demands of field validation: fields that nobody knows, and fields that are said twice."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from keelback.testing.requests import Ask, with_server

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"
APPLY = "application/apply-patch+yaml"
STRICT = "fieldValidation=Strict"
KEEPS = {"x-kubernetes-preserve-unknown-fields": True}
NUMBERS = {"type": "object", "properties": {"known": {"type": "string"}, "port": {"type": "integer"}}}


async def define(ask: Ask, schema: dict[str, Any]) -> None:
    """Widgets of this schema, once they are served."""
    versions = [
        {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object", **schema}}}
    ]
    names = {"plural": "widgets", "kind": "Widget"}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": versions}
    status, made = await ask("POST", DEFINITIONS, {"metadata": {"name": "widgets.example.com"}, "spec": spec})
    assert status == 201, made
    while True:
        if (await ask("GET", WIDGETS))[0] == 200:
            return
        await asyncio.sleep(0)


def text(metadata: str = "", more: str = "", *, kind: str = "Widget", api_version: str = "example.com/v1") -> bytes:
    """A body as it is written, so that it may say things twice."""
    inside = '"name": "w"' + metadata
    return f'{{"apiVersion": "{api_version}", "kind": "{kind}", "metadata": {{{inside}}}{more}}}'.encode()


async def applied(ask: Ask, body: bytes, path: str = f"{WIDGETS}/w") -> tuple[int, Any]:
    return await ask("PATCH", f"{path}?fieldManager=me&{STRICT}", body, kind=APPLY)


async def created(ask: Ask, body: bytes, path: str = WIDGETS) -> tuple[int, Any]:
    return await ask("POST", f"{path}?{STRICT}", body)


def deployment(spec: str = "", metadata: str = "") -> bytes:
    pod = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    more = f', "spec": {{"selector": {{"matchLabels": {{"a": "b"}}}}, "template": {json.dumps(pod)}{spec}}}'
    return text(metadata, more, kind="Deployment", api_version="apps/v1")


@with_server
async def test_a_built_in_object_with_unknown_and_repeated_fields(ask: Ask) -> None:
    body = deployment(', "foo": 1, "paused": true, "paused": false')
    status, refused = await created(ask, body, DEPLOYMENTS)
    assert status == 400
    assert 'strict decoding error: unknown field "spec.foo"' in refused["message"]
    assert 'duplicate field "spec.paused"' in refused["message"]
    status, refused = await applied(ask, deployment(', "foo": 1'), f"{DEPLOYMENTS}/w")
    assert status >= 400
    assert "foo: field not declared in schema" in refused["message"]
    assert (await created(ask, deployment(), DEPLOYMENTS))[0] == 201


@with_server
async def test_unknown_metadata_of_a_built_in_object(ask: Ask) -> None:
    status, refused = await created(ask, deployment(metadata=', "unknown": 1'), DEPLOYMENTS)
    assert status == 400
    assert 'unknown field "metadata.unknown"' in refused["message"]
    status, refused = await applied(ask, deployment(metadata=', "unknown": 1'), f"{DEPLOYMENTS}/w")
    assert status >= 400
    assert "unknown: field not declared in schema" in refused["message"]


@with_server
async def test_a_custom_resource_without_a_schema_may_have_any_fields(ask: Ask) -> None:
    await define(ask, KEEPS)
    status, made = await applied(ask, text(more=', "any": {"thing": 1}'))
    assert (status, made["any"]) == (201, {"thing": 1})
    status, made = await applied(ask, text(more=', "any": {"thing": 1}, "more": 2'))
    assert (status, made["more"]) == (200, 2)
    status, made = await created(ask, text(more=', "any": 1').replace(b'"w"', b'"x"'))
    assert (status, made["any"]) == (201, 1)


@with_server
async def test_a_valid_custom_resource_of_a_schema_is_accepted(ask: Ask) -> None:
    await define(ask, {"properties": {"spec": NUMBERS}})
    body = text(more=', "spec": {"known": "yes", "port": 80}')
    status, made = await applied(ask, body)
    assert (status, made["spec"]) == (201, {"known": "yes", "port": 80})
    status, made = await created(ask, body.replace(b'"w"', b'"x"'))
    assert (status, made["spec"]) == (201, {"known": "yes", "port": 80})


@with_server
async def test_a_custom_resource_with_more_than_its_schema_is_refused(ask: Ask) -> None:
    await define(ask, {"properties": {"spec": NUMBERS}})
    body = text(more=', "spec": {"known": "yes", "extra": 1}')
    status, refused = await created(ask, body)
    assert status == 400
    assert 'strict decoding error: unknown field "spec.extra"' in refused["message"]
    status, refused = await applied(ask, body)
    assert status >= 400
    assert "extra: field not declared in schema" in refused["message"]


@with_server
async def test_a_repeated_field_is_refused_where_any_field_may_be(ask: Ask) -> None:
    await define(ask, {"properties": {"spec": NUMBERS | KEEPS}})
    body = text(more=', "spec": {"unknown": "a", "unknown": "b", "port": 80, "port": 81}')
    status, refused = await created(ask, body)
    assert status == 400
    assert 'duplicate field "spec.port"' in refused["message"]
    assert 'duplicate field "spec.unknown"' in refused["message"]
    status, refused = await applied(ask, body)
    assert status == 400
    assert refused["message"].startswith("error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal")
    assert '"port" already set in map' in refused["message"]
    status, made = await ask("PATCH", f"{WIDGETS}/w?fieldManager=me&fieldValidation=Ignore", body, kind=APPLY)
    assert (status, made["spec"]["port"]) == (201, 81)


@pytest.mark.parametrize("at_root", [True, False], ids=["of the root", "of an embedded object"])
def test_unknown_metadata_of_a_custom_resource_is_refused(at_root: bool) -> None:
    @with_server
    async def run(ask: Ask) -> None:
        embedded = {"type": "object", "x-kubernetes-embedded-resource": True, **KEEPS}
        await define(ask, {"properties": {"spec": {"type": "object", "properties": {"inner": embedded}}}})
        inner = '{"apiVersion": "v1", "kind": "Inner", "metadata": {"name": "i"%s}}'
        more = ', "spec": {"inner": %s}' % (inner % ("" if at_root else ', "unknown": 1'))
        body = text(', "unknown": 1' if at_root else "", more)
        path = "metadata.unknown" if at_root else "spec.inner.metadata.unknown"
        status, refused = await created(ask, body)
        assert status == 400
        assert f'unknown field "{path}"' in refused["message"]
        status, refused = await applied(ask, body)
        assert status >= 400
        assert "unknown: field not declared in schema" in refused["message"]

    run()
