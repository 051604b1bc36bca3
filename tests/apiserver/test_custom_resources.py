"""Custom resources on the real server: from the definition to its last object."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from keelback.testing.requests import Ask, with_server

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
GROUP = "/apis/example.com"
WIDGETS = f"{GROUP}/v1/namespaces/default/widgets"
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"

SPEC = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": {"type": "integer", "minimum": 1, "maximum": 10},
        "color": {"type": "string", "enum": ["red", "green"], "default": "red"},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 4}, "x-kubernetes-list-type": "set"},
        "port": {"x-kubernetes-int-or-string": True},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "note": {"type": "string", "nullable": True, "default": "hello"},
    },
}
STATUS = {"type": "object", "properties": {"size": {"type": "integer"}, "selector": {"type": "string"}}}
SCHEMA = {"type": "object", "required": ["spec"], "properties": {"spec": SPEC, "status": STATUS}}


def version(name: str = "v1", **fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"name": name, "served": True, "storage": True, "schema": {"openAPIV3Schema": SCHEMA}}
    return {**made, **fields}


def definition(*versions: dict[str, Any], plural: str = "widgets", kind: str = "Widget", **spec: Any) -> dict[str, Any]:
    names = {"plural": plural, "kind": kind}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": versions or [version()], **spec}
    meta = {"name": f"{plural}.example.com"}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": meta, "spec": spec}


def widget(name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"size": 3, **spec}}


def conditions(obj: dict[str, Any]) -> dict[str, str]:
    return {one["type"]: one["status"] for one in obj.get("status", {}).get("conditions") or []}


async def until(ask: Ask, path: str, wanted: Callable[[int, Any], bool]) -> Any:
    """Ask again until the answer is the wanted one."""
    while True:
        status, answer = await ask("GET", path)
        if wanted(status, answer):
            return answer
        await asyncio.sleep(0)


async def define(ask: Ask, wanted: dict[str, Any]) -> Any:
    status, made = await ask("POST", DEFINITIONS, wanted)
    assert status == 201, made
    return await until(
        ask,
        f"{DEFINITIONS}/{wanted['metadata']['name']}",
        lambda _, one: conditions(one).get("Established") == "True",
    )


@with_server
async def test_an_established_definition_is_served_at_once(ask: Ask) -> None:
    made = await define(ask, definition())
    found = {one["type"]: (one["reason"], one["message"]) for one in made["status"]["conditions"]}
    assert found["NamesAccepted"] == ("NoConflicts", "no conflicts found")
    assert found["Established"] == ("InitialNamesAccepted", "the initial names have been accepted")
    assert made["status"]["acceptedNames"] == {
        "plural": "widgets",
        "singular": "widget",
        "kind": "Widget",
        "listKind": "WidgetList",
    }
    assert made["status"]["storedVersions"] == ["v1"]
    status, created = await ask("POST", WIDGETS, widget("a"))
    assert (status, created["spec"]) == (201, {"size": 3, "color": "red", "note": "hello"})
    assert await ask("GET", f"{WIDGETS}/a") == (200, created)
    status, found = await ask("GET", f"{GROUP}/v1")
    assert [one["name"] for one in found["resources"]] == ["widgets"]


@with_server
async def test_unknown_fields_are_dropped_and_strict_validation_names_them(ask: Ask) -> None:
    await define(ask, definition())
    body = widget("a", extra=1, free={"any": {"x": 1}}, note=None, color=None)
    status, made = await ask("POST", WIDGETS, {**body, "top": 1})
    assert (status, made["spec"]) == (201, {"size": 3, "free": {"any": {"x": 1}}, "note": None, "color": "red"})
    assert "top" not in made
    status, refused = await ask("POST", f"{WIDGETS}?fieldValidation=Strict", {**body, "top": 1})
    assert (status, refused["message"]) == (
        400,
        'Widget in version "v1" cannot be handled as a Widget: strict decoding error: unknown field "spec.extra", '
        'unknown field "top"',
    )


@with_server
async def test_the_schema_decides_what_is_valid(ask: Ask) -> None:
    await define(ask, definition())
    for spec, complaint in (
        ({"size": 0}, "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"),
        ({"color": "blue"}, 'spec.color: Unsupported value: "blue": supported values: "red", "green"'),
        ({"tags": ["toolong"]}, "spec.tags[0]: Too long: may not be more than 4 bytes"),
        ({"tags": ["a", "a"]}, 'spec.tags[1]: Duplicate value: "a"'),
        (
            {"port": True},
            'spec.port: Invalid value: "boolean": spec.port in body must be of type integer,string: "boolean"',
        ),
    ):
        status, refused = await ask("POST", WIDGETS, widget("a", **spec))
        assert (status, refused["message"]) == (422, f'Widget.example.com "a" is invalid: {complaint}')


@with_server
async def test_what_a_tighter_schema_forbids_may_stay_but_not_come(ask: Ask) -> None:
    await define(ask, definition())
    await ask("POST", WIDGETS, widget("a", size=9))
    tighter = {**SCHEMA, "properties": {"spec": {**SPEC, "properties": {"size": {"type": "integer", "maximum": 5}}}}}
    patch = {"spec": {"versions": [version(schema={"openAPIV3Schema": tighter})]}}
    await ask("PATCH", f"{DEFINITIONS}/widgets.example.com", patch, kind=MERGE)
    await until(ask, f"{WIDGETS}/a", lambda _, one: "color" not in one["spec"])
    status, _ = await ask("PATCH", f"{WIDGETS}/a", {"metadata": {"labels": {"l": "1"}}}, kind=MERGE)
    assert status == 200
    status, _ = await ask("PATCH", f"{WIDGETS}/a", {"spec": {"size": 8}}, kind=MERGE)
    assert status == 422


@with_server
async def test_status_and_scale_are_written_apart_from_the_spec(ask: Ask) -> None:
    scale = {
        "specReplicasPath": ".spec.size",
        "statusReplicasPath": ".status.size",
        "labelSelectorPath": ".status.selector",
    }
    await define(ask, definition(version(subresources={"status": {}, "scale": scale})))
    status, made = await ask("POST", WIDGETS, {**widget("a"), "status": {"size": 9}})
    assert (status, "status" in made, made["metadata"]["generation"]) == (201, False, 1)
    patch = {"spec": {"size": 9}, "status": {"size": 2, "selector": "a=b"}}
    status, told = await ask("PATCH", f"{WIDGETS}/a/status", patch, kind=MERGE)
    assert (told["spec"]["size"], told["status"]["size"], told["metadata"]["generation"]) == (3, 2, 1)
    status, scaled = await ask("PATCH", f"{WIDGETS}/a/scale", {"spec": {"replicas": 5}}, kind=MERGE)
    assert (status, scaled["spec"], scaled["status"]) == (200, {"replicas": 5}, {"replicas": 2, "selector": "a=b"})
    status, now = await ask("GET", f"{WIDGETS}/a")
    assert (now["spec"]["size"], now["metadata"]["generation"]) == (5, 2)
    status, _ = await ask("PATCH", f"{WIDGETS}/a/scale", {"spec": {"replicas": 50}}, kind=MERGE)
    assert status == 422


@with_server
async def test_a_put_must_name_the_version(ask: Ask) -> None:
    await define(ask, definition())
    await ask("POST", WIDGETS, widget("a"))
    status, refused = await ask("PUT", f"{WIDGETS}/a", widget("a", size=4))
    assert (status, refused["message"]) == (
        422,
        'widgets.example.com "a" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an '
        "update",
    )
    status, refused = await ask("PATCH", f"{WIDGETS}/a", {}, kind="application/strategic-merge-patch+json")
    assert status == 415


@with_server
async def test_versions_show_the_same_object(ask: Ask) -> None:
    free = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    older = version("v1beta1", storage=False, schema=free, deprecated=True)
    await define(ask, definition(version(), older))
    _, made = await ask("POST", WIDGETS, widget("a"))
    beta = WIDGETS.replace("/v1/", "/v1beta1/")
    status, seen = await ask("GET", f"{beta}/a")
    assert seen == {**made, "apiVersion": "example.com/v1beta1"}
    status, other = await ask("POST", beta, {**widget("b", odd=1), "apiVersion": "example.com/v1beta1"})
    assert (status, other["apiVersion"]) == (201, "example.com/v1beta1")
    status, read = await ask("GET", WIDGETS)
    assert [(one["metadata"]["name"], one["apiVersion"], "odd" in one["spec"]) for one in read["items"]] == [
        ("a", "example.com/v1", False),
        ("b", "example.com/v1", False),
    ]
    status, _ = await ask("GET", WIDGETS.replace("/v1/", "/v2/"))
    assert status == 404


@with_server
async def test_two_appliers_share_an_object(ask: Ask) -> None:
    await define(ask, definition())
    path = f"{WIDGETS}/a?fieldManager="
    status, _ = await ask("PATCH", f"{path}one", widget("a", tags=["x"]), kind=APPLY)
    assert status == 201
    other = {"apiVersion": "example.com/v1", "kind": "Widget", "spec": {"tags": ["y"], "port": "http"}}
    status, merged = await ask("PATCH", f"{path}two", other, kind=APPLY)
    assert (status, merged["spec"]["tags"], merged["spec"]["port"]) == (200, ["x", "y"], "http")
    other["spec"] = {"size": 4}
    status, refused = await ask("PATCH", f"{path}two", other, kind=APPLY)
    assert (status, refused["reason"]) == (409, "Conflict")


@with_server
async def test_columns_and_selectable_fields(ask: Ask) -> None:
    columns = [
        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
        {"name": "Tag", "type": "string", "jsonPath": ".spec.tags[*]"},
        {"name": "Mark", "type": "string", "jsonPath": r".metadata.annotations.example\.com/mark"},
    ]
    fields = [{"jsonPath": ".spec.color"}]
    await define(ask, definition(version(additionalPrinterColumns=columns, selectableFields=fields)))
    marked = widget("a", tags=["x", "y"])
    marked["metadata"]["annotations"] = {"example.com/mark": "m"}
    await ask("POST", WIDGETS, marked)
    await ask("POST", WIDGETS, widget("b", color="green"))
    status, table = await ask("GET", WIDGETS, accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    assert [one["name"] for one in table["columnDefinitions"]] == ["Name", "Size", "Tag", "Mark"]
    assert [one["cells"] for one in table["rows"]] == [["a", 3, "x", "m"], ["b", 3, None, None]]
    status, green = await ask("GET", f"{WIDGETS}?fieldSelector=spec.color%3Dgreen")
    assert [one["metadata"]["name"] for one in green["items"]] == ["b"]
    status, refused = await ask("GET", f"{WIDGETS}?fieldSelector=spec.size%3D3")
    assert (status, refused["message"]) == (400, "field label not supported: spec.size")


@with_server
async def test_names_that_are_taken_are_not_accepted_until_they_are_free(ask: Ask) -> None:
    await define(ask, definition())
    await ask("POST", DEFINITIONS, definition(plural="wodgets", kind="Widget"))
    path = f"{DEFINITIONS}/wodgets.example.com"
    refused = await until(ask, path, lambda _, one: bool(conditions(one)))
    assert conditions(refused) == {"NamesAccepted": "False", "Established": "False"}
    found = {one["type"]: (one["reason"], one["message"]) for one in refused["status"]["conditions"]}
    assert found["Established"] == ("NotAccepted", "not all names are accepted")
    await ask("DELETE", f"{DEFINITIONS}/widgets.example.com")
    await until(ask, path, lambda _, one: conditions(one).get("Established") == "True")
    status, _ = await ask("GET", f"{GROUP}/v1/wodgets")
    assert status == 200


@with_server
async def test_a_definition_goes_after_its_last_object(ask: Ask) -> None:
    await define(ask, definition())
    held = widget("held")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    await ask("POST", WIDGETS, held)
    await ask("POST", WIDGETS, widget("free"))
    status, ending = await ask("DELETE", f"{DEFINITIONS}/widgets.example.com")
    assert (status, ending["metadata"]["finalizers"]) == (200, ["customresourcecleanup.apiextensions.k8s.io"])
    assert conditions(ending)["Terminating"] == "True"
    await until(ask, f"{WIDGETS}/free", lambda status, _: status == 404)
    status, refused = await ask("POST", WIDGETS, widget("new"))
    assert (status, refused["message"]) == (405, "create not allowed while custom resource definition is terminating")
    await ask("PATCH", f"{WIDGETS}/held", {"metadata": {"finalizers": None}}, kind=MERGE)
    await until(ask, f"{DEFINITIONS}/widgets.example.com", lambda status, _: status == 404)
    assert await ask("GET", WIDGETS) == (404, "404 page not found\n")
    await define(ask, definition())
    status, found = await ask("GET", WIDGETS)
    assert (status, found["items"]) == (200, [])


@with_server
async def test_openapi_describes_a_custom_resource_while_it_is_served(ask: Ask) -> None:
    await define(ask, definition())
    path = "/openapi/v3/apis/example.com/v1"
    _, document = await ask("GET", path)
    described = document["components"]["schemas"]["com.example.v1.Widget"]
    assert described["properties"]["spec"]["properties"]["size"] == SPEC["properties"]["size"]  # type: ignore[index]
    await ask("DELETE", f"{DEFINITIONS}/widgets.example.com")
    await until(ask, path, lambda status, _: status == 404)


@with_server
async def test_of_two_definitions_made_at_once_one_gets_the_name(ask: Ask) -> None:
    made = [definition(plural=plural, kind="Thing") for plural in ("ones", "twos")]
    await asyncio.gather(*(ask("POST", DEFINITIONS, one) for one in made))
    paths = [f"{DEFINITIONS}/{one['metadata']['name']}" for one in made]
    told = [await until(ask, path, lambda _, one: bool(conditions(one))) for path in paths]
    assert sorted(conditions(one)["Established"] for one in told) == ["False", "True"]


@with_server
async def test_rules_are_evaluated_where_the_schema_is_kept(ask: Ask) -> None:
    rule = {"rule": "self.size != 3 || self.color == 'red'", "message": "three are red"}
    fixed = {"rule": "self.size >= oldSelf.size", "message": "never smaller"}
    spec = {**SPEC, "x-kubernetes-validations": [rule, fixed]}
    schema = {"type": "object", "properties": {"spec": spec, "status": STATUS}}
    await define(ask, definition(version(schema={"openAPIV3Schema": schema})))
    for given, complaint in (
        ({"color": "green"}, "spec: Invalid value: three are red"),
        (
            {"size": "x"},
            '[spec.size: Invalid value: "string": spec.size in body must be of type integer: "string", <nil>: Invalid '
            "value: null: some validation rules were not checked because the object was invalid; correct the existing "
            "errors to complete validation]",
        ),
    ):
        status, refused = await ask("POST", WIDGETS, widget("a", **given))
        assert (status, refused["message"]) == (422, f'Widget.example.com "a" is invalid: {complaint}')
    status, _ = await ask("POST", WIDGETS, widget("a", size=5))
    assert status == 201
    status, refused = await ask("PATCH", f"{WIDGETS}/a", {"spec": {"size": 4}}, kind=MERGE)
    assert (status, refused["message"]) == (
        422,
        'Widget.example.com "a" is invalid: spec: Invalid value: never smaller',
    )
    bad = {**SPEC, "x-kubernetes-validations": [{"rule": "self.nope"}]}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": bad}}}
    status, refused = await ask("POST", DEFINITIONS, definition(version(schema=schema), plural="gizmos", kind="Gizmo"))
    assert status == 422
    assert "compilation failed: ERROR: <input>:1:5: undefined field 'nope'" in refused["message"]
