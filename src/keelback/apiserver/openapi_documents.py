"""Whole OpenAPI documents: version 2 of everything served, version 3 of one group and version."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

import msgspec

from keelback.apiserver.discovery import Served
from keelback.apiserver.openapi_paths import Tree, information_paths, paths_of, references
from keelback.apiserver.openapi_schemas import V2_PREFIX, V3_PREFIX, Schema, Schemas

_SECURITY: Final = {
    "BearerToken": {
        "description": "Bearer Token authentication",
        "in": "header",
        "name": "authorization",
        "type": "apiKey",
    }
}
_PARAMETER_PREFIX: Final = "#/parameters/"
_NOT_SHARED: Final = ("dryRun", "fieldValidation")
"""What each operation of version 2 says itself, as upstream's do."""
_BESIDE_SCHEMA: Final = frozenset({"description", "in", "name", "required"})
_V2_ONLY: Final = frozenset({"consumes", "produces", "schemes", "parameters", "responses"})


def groups_of(served: Iterable[Served]) -> dict[str, list[str]]:
    """The versions of each group."""
    found: dict[str, list[str]] = {}
    for one in served:
        versions = found.setdefault(one.kind.group, [])
        if one.kind.version not in versions:
            versions.append(one.kind.version)
    return found


def v2_document(served: Iterable[Served], version: str, extra: Mapping[str, Schema]) -> Tree:
    """The one document of version 2."""
    served = list(served)
    schemas = Schemas(version, extra)
    paths = {**information_paths(groups_of(served)), **paths_of(served, schemas)}
    parameters = _shared_parameters()
    definitions = schemas.v2(references(paths) | references(parameters))
    own = {f"{_PARAMETER_PREFIX}{name}": parameters.pop(name) for name in _NOT_SHARED}
    for item in paths.values():
        for holder in (item, *(one for one in item.values() if isinstance(one, dict))):
            if "parameters" in holder:
                holder["parameters"] = [own.get(one.get("$ref", ""), one) for one in holder["parameters"]]
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": version},
        "paths": dict(sorted(paths.items())),
        "definitions": definitions,
        "parameters": parameters,
        "securityDefinitions": _SECURITY,
        "security": [{"BearerToken": []}],
    }


def v3_document(
    place: str, served: Iterable[Served], version: str, extra: Mapping[str, Schema], groups: dict[str, list[str]]
) -> Tree:
    """The document at a place: `api/v1`, `apis/apps/v1`, `apis/apps`, `version`. `served` is what the place serves."""
    schemas = Schemas(version, extra)
    # A group of custom resources describes them alone.
    own = None if extra else information_paths(groups).get(f"/{place}/")
    paths = {f"/{place}/": own} if own else {}
    paths.update(paths_of(served, schemas))
    parameters = _shared_parameters()
    bodies = {name for path in paths.values() for name in _body_references(path, parameters)}
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": version},
        "paths": {path: v3_path(item, parameters) for path, item in sorted(paths.items())},
        "components": {
            "schemas": schemas.v3(references(paths) | bodies),
            "securitySchemes": _SECURITY,
        },
    }


@cache
def _shared_text() -> bytes:
    return files("keelback.apiserver").joinpath("openapi_parameters.json").read_bytes()


def _shared_parameters() -> dict[str, Tree]:
    found: dict[str, Tree] = msgspec.json.decode(_shared_text())
    return found


def _body_references(item: Tree, parameters: Mapping[str, Tree]) -> set[str]:
    found: set[str] = set()
    for operation in item.values():
        if isinstance(operation, dict):
            for one in operation.get("parameters", ()):
                found |= references(_resolved(one, parameters))
    return found


def _resolved(parameter: Tree, parameters: Mapping[str, Tree]) -> Tree:
    reference = parameter.get("$ref")
    return parameters[reference.removeprefix(_PARAMETER_PREFIX)] if reference else parameter


def v3_path(item: Tree, parameters: Mapping[str, Tree]) -> Tree:
    """A path's item of version 2 as version 3 has it; its types are still referred to as definitions."""
    made: Tree = {}
    for key, value in item.items():
        if key == "parameters":
            made[key] = [_v3_parameter(_resolved(one, parameters)) for one in value]
        else:
            made[key] = _v3_operation(value, parameters)
    return made


def _v3_parameter(parameter: Tree) -> Tree:
    made = {key: value for key, value in parameter.items() if key in _BESIDE_SCHEMA}
    made["schema"] = {key: value for key, value in parameter.items() if key not in _BESIDE_SCHEMA}
    return made


def _v3_operation(operation: Tree, parameters: Mapping[str, Tree]) -> Tree:
    made = {key: value for key, value in operation.items() if key not in _V2_ONLY}
    produced = operation.get("produces", ())
    listed = [_resolved(one, parameters) for one in operation.get("parameters", ())]
    if plain := [_v3_parameter(one) for one in listed if one["in"] != "body"]:
        made["parameters"] = plain
    for one in listed:
        if one["in"] == "body":
            content = {"schema": _v3_reference(one["schema"])}
            made["requestBody"] = {"content": dict.fromkeys(operation["consumes"], content)}
            if one.get("required"):
                made["requestBody"]["required"] = True
    made["responses"] = {code: _v3_answer(answer, produced) for code, answer in operation["responses"].items()}
    return made


def _v3_answer(answer: Tree, produced: Iterable[str]) -> Tree:
    if "schema" not in answer:
        return answer
    content = {"schema": _v3_reference(answer["schema"])}
    return {"description": answer["description"], "content": {one: content for one in produced}}  # noqa: C420


def _v3_reference(schema: Tree) -> Tree:
    reference: Any = schema.get("$ref")
    return {"$ref": V3_PREFIX + reference.removeprefix(V2_PREFIX)} if reference else schema
