"""Documents of several servers made one: nobody changes what another has said."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from keelback.apiserver import openapi_merge

Tree = dict[str, Any]
KINDS = "x-kubernetes-group-version-kind"


def document(path: str, type_name: str, *properties: str, kinds: tuple[str, ...] = ()) -> Tree:
    """A document of one path, which answers with one type that refers to itself."""
    own = {"$ref": f"#/definitions/{type_name}"}
    schema: Tree = {"type": "object", "properties": {"items": {"type": "array", "items": own}}}
    schema["properties"].update({name: {"type": "string"} for name in properties})
    if kinds:
        schema[KINDS] = [{"kind": kind} for kind in kinds]
    operation = {"responses": {"200": {"description": "OK", "schema": own}}, "produces": ["application/json"]}
    return {"swagger": "2.0", "paths": {path: {"get": operation}}, "definitions": {type_name: schema}}


def merged(*documents: Tree) -> Tree:
    first, *others = documents
    into = copy.deepcopy(first)
    for one in others:
        group = next(iter(one["paths"])).split("/")[2]
        openapi_merge.merge(into, openapi_merge.part_of_group(one, group))
    return into


def test_types_that_differ_get_names_of_their_own() -> None:
    one, two, three = (document(f"/apis/{name}/v1/x", "Thing", name) for name in ("a", "b", "c"))
    found = merged(one, two, three)
    assert list(found["definitions"]) == ["Thing", "Thing_v2", "Thing_v3"]
    assert found["definitions"]["Thing"] == one["definitions"]["Thing"]
    assert found["definitions"]["Thing_v3"]["properties"]["items"]["items"] == {"$ref": "#/definitions/Thing_v3"}
    answers = [item["get"]["responses"]["200"]["schema"]["$ref"] for _, item in sorted(found["paths"].items())]
    assert answers == [f"#/definitions/{name}" for name in ("Thing", "Thing_v2", "Thing_v3")]


def test_types_that_are_the_same_are_kept_once_with_all_their_kinds() -> None:
    one = document("/apis/a/v1/x", "Options", kinds=("A", "B"))
    two = document("/apis/b/v1/x", "Options", kinds=("B", "C"))
    found = merged(one, two)["definitions"]
    assert list(found) == ["Options"]
    assert found["Options"][KINDS] == [{"kind": kind} for kind in "ABC"]


def test_a_part_has_the_groups_paths_and_what_they_need() -> None:
    one = document("/apis/a/v1/x", "Thing")
    one["definitions"]["Unused"] = {"type": "object"}
    one["paths"]["/apis/ab/v1/x"] = one["paths"]["/api/v1/pods"] = {"get": {}}
    part = openapi_merge.part_of_group(one, "a")
    assert (list(part["paths"]), list(part["definitions"])) == (["/apis/a/v1/x"], ["Thing"])
    with pytest.raises(ValueError, match="no OpenAPI document of version 2"):
        openapi_merge.part_of_group({"swagger": "2.0", "paths": []}, "a")


def test_the_first_to_describe_a_path_is_believed() -> None:
    one = document("/apis/a/v1/x", "Thing", "first")
    assert merged(one, document("/apis/a/v1/x", "Thing", "second"))["paths"] == one["paths"]


def test_a_part_of_version_2_becomes_a_document_of_version_3() -> None:
    part = openapi_merge.part_of_group(document("/apis/a/v1/x", "Thing"), "a")
    made = openapi_merge.as_version_3(part, {"title": "t", "version": "v"})
    reference = {"$ref": "#/components/schemas/Thing"}
    answer = made["paths"]["/apis/a/v1/x"]["get"]["responses"]["200"]
    assert answer["content"] == {"application/json": {"schema": reference}}
    assert made["components"]["schemas"]["Thing"]["properties"]["items"]["items"] == reference
