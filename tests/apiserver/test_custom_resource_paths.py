"""Methods and paths of custom resources, which upstream serves without routes: other words than for built-in kinds."""

from __future__ import annotations

import asyncio
from typing import Any

from keelback.testing.requests import Ask, with_server

THINGS = "/apis/ex.example.com/v1/namespaces/default/things"
MERGE = "application/merge-patch+json"
NOWHERE = "404 page not found\n"


def thing(name: str) -> Any:
    return {"apiVersion": "ex.example.com/v1", "kind": "Thing", "metadata": {"name": name}}


async def define(ask: Ask) -> None:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    definition = {
        "metadata": {"name": "things.ex.example.com"},
        "spec": {
            "group": "ex.example.com",
            "scope": "Namespaced",
            "names": {"plural": "things", "kind": "Thing"},
            "versions": [{**version, "subresources": {"status": {}}}],
        },
    }
    status, made = await ask("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
    assert status == 201, made
    for _ in range(1_000):
        if (await ask("POST", THINGS, thing("a")))[0] == 201:
            return
        await asyncio.sleep(0)
    raise AssertionError("the definition is not served")


@with_server
async def test_a_method_that_is_none_is_named_with_the_resource(ask: Ask) -> None:
    await define(ask)
    for method, path, verb in (
        ("OPTIONS", THINGS, ""),
        ("OPTIONS", f"{THINGS}/a", ""),
        ("POST", f"{THINGS}/a/status", "create"),
        ("DELETE", f"{THINGS}/a/status", "delete"),
    ):
        status, refused = await ask(method, path)
        assert (method, path, status, refused["reason"]) == (method, path, 405, "MethodNotAllowed")
        assert refused["message"] == f'{verb} is not supported on resources of kind "things.ex.example.com"'
        assert refused["details"] == {"group": "ex.example.com", "kind": "things"}


@with_server
async def test_a_head_is_a_get_without_its_body(ask: Ask) -> None:
    await define(ask)
    for path, expected in ((THINGS, 200), (f"{THINGS}/a", 200), (f"{THINGS}/a/status", 200), (f"{THINGS}/none", 404)):
        assert (path, (await ask("HEAD", path))[0]) == (path, expected)


@with_server
async def test_names_are_missed_by_updates_and_not_heeded_by_creates(ask: Ask) -> None:
    await define(ask)
    for method, kind in (("PUT", "application/json"), ("PATCH", MERGE)):
        status, refused = await ask(method, THINGS, thing("a"), kind=kind)
        assert (method, status, refused["message"]) == (method, 400, "name must be provided")
    status, made = await ask("POST", f"{THINGS}/other", thing("b"))
    assert (status, made["metadata"]["name"]) == (201, "b")
    # Built-in kinds have routes.
    path = "/api/v1/namespaces/default/configmaps/other"
    assert (await ask("POST", path, {"metadata": {"name": "b"}}))[0] == 405


@with_server
async def test_what_there_is_not_is_the_object_or_the_page(ask: Ask) -> None:
    await define(ask)
    for path in (f"{THINGS}/a/scale", f"{THINGS}/a/nope"):
        status, refused = await ask("GET", path)
        assert (path, status, refused["message"]) == (path, 404, 'things.ex.example.com "a" not found')
        assert refused["details"] == {"name": "a", "group": "ex.example.com", "kind": "things"}
    assert (await ask("POST", f"{THINGS}/a/scale", {}))[0] == 404
    for path in ("", "/v2", "/v2/things", "/v1/nope", "/v1/namespaces/default/nope/a", "/v1/things/a"):
        expected = 200 if not path else 404
        status, answer = await ask("GET", f"/apis/ex.example.com{path}")
        assert (path, status) == (path, expected)
        assert not path or answer == NOWHERE
