"""Versions of a CustomResourceDefinition as upstream's field errors print them: in its internal type, as JSON.

That type has no JSON names, so the fields are called as in Go, all of them are there, and what several versions have
in common stands elsewhere (`without`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from keelback.api.apiextensions_v1 import CustomResourceDefinitionVersion

_TEXT, _NULL, _FALSE = "", None, False
_SCHEMA: Mapping[str, tuple[str, Any]] = {
    "ID": ("id", _TEXT),
    "Schema": ("$schema", _TEXT),
    "Ref": ("$ref", _NULL),
    "Description": ("description", _TEXT),
    "Type": ("type", _TEXT),
    "Nullable": ("nullable", _FALSE),
    "Format": ("format", _TEXT),
    "Title": ("title", _TEXT),
    "Maximum": ("maximum", _NULL),
    "ExclusiveMaximum": ("exclusiveMaximum", _FALSE),
    "Minimum": ("minimum", _NULL),
    "ExclusiveMinimum": ("exclusiveMinimum", _FALSE),
    "MaxLength": ("maxLength", _NULL),
    "MinLength": ("minLength", _NULL),
    "Pattern": ("pattern", _TEXT),
    "MaxItems": ("maxItems", _NULL),
    "MinItems": ("minItems", _NULL),
    "UniqueItems": ("uniqueItems", _FALSE),
    "MultipleOf": ("multipleOf", _NULL),
    "Enum": ("enum", _NULL),
    "MaxProperties": ("maxProperties", _NULL),
    "MinProperties": ("minProperties", _NULL),
    "Required": ("required", _NULL),
    "Items": ("items", _NULL),
    "AllOf": ("allOf", _NULL),
    "OneOf": ("oneOf", _NULL),
    "AnyOf": ("anyOf", _NULL),
    "Not": ("not", _NULL),
    "Properties": ("properties", _NULL),
    "AdditionalProperties": ("additionalProperties", _NULL),
    "PatternProperties": ("patternProperties", _NULL),
    "Dependencies": ("dependencies", _NULL),
    "AdditionalItems": ("additionalItems", _NULL),
    "Definitions": ("definitions", _NULL),
    "ExternalDocs": ("externalDocs", _NULL),
    "Example": ("example", _NULL),
    "Default": ("default", _NULL),
    "XPreserveUnknownFields": ("x-kubernetes-preserve-unknown-fields", _NULL),
    "XEmbeddedResource": ("x-kubernetes-embedded-resource", _FALSE),
    "XIntOrString": ("x-kubernetes-int-or-string", _FALSE),
    "XListMapKeys": ("x-kubernetes-list-map-keys", _NULL),
    "XListType": ("x-kubernetes-list-type", _NULL),
    "XMapType": ("x-kubernetes-map-type", _NULL),
    "XValidations": ("x-kubernetes-validations", _NULL),
}
_RULE: Mapping[str, tuple[str, Any]] = {
    "Rule": ("rule", _TEXT),
    "Message": ("message", _TEXT),
    "MessageExpression": ("messageExpression", _TEXT),
    "Reason": ("reason", _NULL),
    "FieldPath": ("fieldPath", _TEXT),
    "OptionalOldSelf": ("optionalOldSelf", _NULL),
}


def of_versions(
    versions: Iterable[CustomResourceDefinitionVersion], *, without: Iterable[str] = ()
) -> list[dict[str, Any]]:
    """The versions; the fields in `without` are null in each (schema, subresources, ...)."""
    return [_of_version(one, frozenset(without)) for one in versions]


def of_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    """One of x-kubernetes-validations."""
    return {name: rule.get(key, default) for name, (key, default) in _RULE.items()}


def of_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema, given as its JSON tree."""
    return {name: _part(name, schema.get(key, default)) for name, (key, default) in _SCHEMA.items()}


def _part(name: str, value: Any) -> Any:
    if value is None:
        return None
    match name:
        case "AllOf" | "OneOf" | "AnyOf":
            return [of_schema(one) for one in value]
        case "Not":
            return of_schema(value)
        case "Properties" | "PatternProperties" | "Definitions":
            return {key: of_schema(value[key]) for key in sorted(value)}
        case "Items":
            if isinstance(value, list):
                return {"Schema": None, "JSONSchemas": [of_schema(one) for one in value]}
            return {"Schema": of_schema(value), "JSONSchemas": None}
        case "AdditionalProperties" | "AdditionalItems":
            is_schema = isinstance(value, Mapping)
            return {"Allows": is_schema or bool(value), "Schema": of_schema(value) if is_schema else None}
        case "ExternalDocs":
            return {"Description": value.get("description", ""), "URL": value.get("url", "")}
        case "XValidations":
            return [of_rule(one) for one in value]
    return value


def _of_version(version: CustomResourceDefinitionVersion, without: frozenset[str]) -> dict[str, Any]:
    tree: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(version))
    given = {name: None if name in without else tree.get(name) for name in tree}
    schema, parts = given.get("schema"), given.get("subresources")
    return {
        "Name": version.name,
        "Served": version.served,
        "Storage": version.storage,
        "Deprecated": version.deprecated,
        "DeprecationWarning": version.deprecation_warning or None,
        "Schema": None
        if schema is None
        else {"OpenAPIV3Schema": of_schema(schema["openAPIV3Schema"]) if "openAPIV3Schema" in schema else None},
        "Subresources": None if parts is None else _subresources(parts),
        "AdditionalPrinterColumns": _columns(given.get("additionalPrinterColumns")),
        "SelectableFields": [{"JSONPath": one["jsonPath"]} for one in given.get("selectableFields") or ()] or None,
    }


def _subresources(parts: Mapping[str, Any]) -> dict[str, Any]:
    scale = parts.get("scale")
    shown = None
    if scale is not None:
        shown = {
            "SpecReplicasPath": scale.get("specReplicasPath", ""),
            "StatusReplicasPath": scale.get("statusReplicasPath", ""),
            "LabelSelectorPath": scale.get("labelSelectorPath"),
        }
    return {"Status": {} if parts.get("status") is not None else None, "Scale": shown}


def _columns(columns: Iterable[Mapping[str, Any]] | None) -> list[dict[str, Any]] | None:
    if not columns:
        return None
    return [
        {
            "Name": one.get("name", ""),
            "Type": one.get("type", ""),
            "Format": one.get("format", ""),
            "Description": one.get("description", ""),
            "Priority": one.get("priority", 0),
            "JSONPath": one.get("jsonPath", ""),
        }
        for one in columns
    ]
