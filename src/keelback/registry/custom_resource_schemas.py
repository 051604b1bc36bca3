"""What a CustomResourceDefinition's schema may say, in upstream's order: structure, defaults, OpenAPI, then rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from keelback.apimachinery import (
    structural_schema,
    structural_schema_invariants,
    structural_schema_objects,
    structural_schema_validation,
)
from keelback.apimachinery.errors import FieldError, forbidden, invalid, not_supported, required
from keelback.apimachinery.structural_schema import SchemaTree
from keelback.registry.custom_resource_field_paths import resolve

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_LIST_TYPES = ("atomic", "set", "map")
_TYPE_FIELDS = ("apiVersion", "kind", "metadata")
_UNSUPPORTED = ("id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref")
_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")
_WITH_STATUS = "at the root of the schema if the status subresource is enabled"
# As upstream's message names them: its own field names.
_ALLOWED_AT_ROOT = {
    "description": "Description",
    "type": "Type",
    "format": "Format",
    "title": "Title",
    "maximum": "Maximum",
    "exclusiveMaximum": "ExclusiveMaximum",
    "minimum": "Minimum",
    "exclusiveMinimum": "ExclusiveMinimum",
    "maxLength": "MaxLength",
    "minLength": "MinLength",
    "pattern": "Pattern",
    "maxItems": "MaxItems",
    "minItems": "MinItems",
    "uniqueItems": "UniqueItems",
    "multipleOf": "MultipleOf",
    "required": "Required",
    "items": "Items",
    "properties": "Properties",
    "externalDocs": "ExternalDocs",
    "example": "Example",
    "x-kubernetes-preserve-unknown-fields": "XPreserveUnknownFields",
    "x-kubernetes-validations": "XValidations",
}


@dataclass(frozen=True, slots=True)
class Node:
    """Where a schema stands within that of a definition."""

    schema: SchemaTree
    path: str
    is_resource: bool = False
    """Its values are objects with kind and metadata."""

    cardinality: int | None = 1
    """How many values of it an object has at most; None where no schema above says."""

    uncorrelatable: str = ""
    """The outermost schema above whose values of before and after an update cannot be told apart."""


class RuleChecker(Protocol):
    """Compiles the rules of one definition's schema and adds up what they cost."""

    def check(self, node: Node) -> Iterator[FieldError]:
        """What is wrong with the rules of one node."""
        ...

    def check_default(self, schema: SchemaTree, path: str) -> Iterator[FieldError]:
        """What the rules of a schema and below say of its default."""
        ...

    def total(self, path: str) -> Iterator[FieldError]:
        """What is wrong with all of them together."""
        ...


@dataclass(slots=True)
class _Found:
    """Upstream tells what is wrong with rules after all else."""

    schema: list[FieldError] = field(default_factory=list)
    rules: list[FieldError] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Walk:
    """One node on the way through the schema."""

    node: Node
    rules: RuleChecker | None
    """None where rules are not looked at: in junctors, and where the structure is broken."""

    is_root: bool = False
    in_metadata: bool = False
    no_defaults: str = ""
    """Why there may be no default here."""

    def below(self, schema: SchemaTree, step: str, **changes: Any) -> _Walk:
        node = self.node
        most = _most_elements(node.schema)
        cardinality = None if node.cardinality is None or most is None else min(node.cardinality * most, 2**64 - 1)
        made = Node(
            schema,
            f"{node.path}.{step}",
            bool(schema.get("x-kubernetes-embedded-resource")),
            cardinality,
            changes.pop("uncorrelatable", node.uncorrelatable),
        )
        return replace(self, node=made, is_root=False, **changes)


def problems(
    schema: SchemaTree, path: str, *, has_status: bool = False, rules: RuleChecker | None = None
) -> Iterator[FieldError]:
    """Everything wrong with the whole schema of a version. With `has_status` the status has a subresource."""
    if has_status:
        yield from _root_beside_status(schema, path)
    if schema.get("nullable"):
        yield forbidden(f"{path}.nullable", "nullable cannot be true at the root")
    impossible = structural_schema_invariants.unsupported(schema)
    structure: list[FieldError] = []
    if not impossible:
        structure = structural_schema_invariants.problems(schema, path)
        structure = structure or list(_defaults(schema, path, rules, is_root=True))
        yield from structure
    found = _Found()
    used = None if impossible or structure else rules
    _open_api(_Walk(Node(schema, path, is_resource=True), used, is_root=True), found)
    yield from found.schema
    yield from found.rules
    if impossible and not found.schema:
        yield invalid(path, "", impossible)
    if used is not None:
        yield from used.total(path)


def _root_beside_status(schema: SchemaTree, path: str) -> Iterator[FieldError]:
    # The status is validated by its property alone then: what the root says of it would be lost.
    for name, value in schema.items():
        if value in (None, False, "", [], {}):
            continue
        if name == "type":
            if value != "object":
                detail = f'only "object" is allowed as the type {_WITH_STATUS}'
                yield invalid(f"{path}.type", value, detail)
                return
        elif name not in _ALLOWED_AT_ROOT:
            names = " ".join(_ALLOWED_AT_ROOT.values())
            detail = f"only [{names}] fields are allowed {_WITH_STATUS}"
            yield invalid(path, schema, detail)
            return


def _defaults(
    schema: SchemaTree, path: str, rules: RuleChecker | None, *, is_root: bool = False, in_metadata: bool = False
) -> Iterator[FieldError]:
    """Defaults are valid and have no unknown fields. Nothing below additionalProperties has any."""
    embeds = is_root or bool(schema.get("x-kubernetes-embedded-resource"))
    in_metadata = in_metadata and not embeds
    if schema.get("default") is not None:
        wrong = list(_default(schema, f"{path}.default", in_metadata=in_metadata))
        if not wrong and rules is not None:
            wrong.extend(rules.check_default(schema, f"{path}.default"))
        yield from wrong
    if isinstance(schema.get("items"), Mapping):
        yield from _defaults(schema["items"], f"{path}.items", rules, in_metadata=in_metadata)
    for name, below in (schema.get("properties") or {}).items():
        inside = in_metadata or (embeds and name in _TYPE_FIELDS)
        yield from _defaults(below, f"{path}.properties[{name}]", rules, in_metadata=inside)


def _default(schema: SchemaTree, place: str, *, in_metadata: bool) -> Iterator[FieldError]:
    given = schema["default"]
    if not in_metadata:
        is_resource = bool(schema.get("x-kubernetes-embedded-resource"))
        if structural_schema.pruned(given, schema, is_root=is_resource) != given:
            yield invalid(place, given, "must not have unknown fields")
        wrong = list(structural_schema_objects.problems(given, schema, place))
        if wrong:
            yield from wrong
            return
    yield from structural_schema_validation.validate_below(place, given, schema)


def _most_elements(schema: SchemaTree) -> int | None:
    """By how much there may be more values below a schema; None where it does not say."""
    match schema.get("type"):
        case "object" if schema.get("additionalProperties") is not None:
            most = schema.get("maxProperties")
        case "array":
            most = schema.get("maxItems")
        case _:
            return 1
    return None if most is None else max(most, 0)


def _open_api(walk: _Walk, found: _Found) -> None:
    node = walk.node
    schema, path = node.schema, node.path
    before = len(found.schema)
    found.schema.extend(_standard(walk))
    if schema.get("uniqueItems"):
        detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        found.schema.append(forbidden(f"{path}.uniqueItems", detail))
    _parts(walk, found)
    found.schema.extend(_extensions(schema, path))
    found.schema.extend(_map_keys(schema, path))
    if schema.get("x-kubernetes-validations"):
        found.schema.extend(_rules(schema, path))
        # Of a schema that is wrong here or deeper no types can be made.
        if walk.rules is not None and len(found.schema) == before:
            found.rules.extend(walk.rules.check(node))


def _standard(walk: _Walk) -> Iterator[FieldError]:
    schema, path = walk.node.schema, walk.node.path
    given = schema.get("type")
    if given and given not in _TYPES:
        yield not_supported(f"{path}.type", given, _TYPES)
    if schema.get("default") is not None and walk.no_defaults:
        yield forbidden(f"{path}.default", f"must not be set {walk.no_defaults}")
    for name in _UNSUPPORTED:
        if schema.get(name) or (name == "additionalItems" and schema.get(name) is not None):
            yield forbidden(f"{path}.{name}", f"{name} is not supported")
    if given == "null":
        yield forbidden(f"{path}.type", "type cannot be set to null, use nullable as an alternative")
    if isinstance(schema.get("items"), list) and schema["items"]:
        yield forbidden(f"{path}.items", "items must be a schema object and not an array")
    if walk.in_metadata and schema.get("x-kubernetes-embedded-resource"):
        yield forbidden(f"{path}.x-kubernetes-embedded-resource", "must not be used inside of resource meta")


def _parts(walk: _Walk, found: _Found) -> None:
    """Everything below a node. Rules in junctors are not looked at: they are refused elsewhere."""
    schema, path = walk.node.schema, walk.node.path
    properties: SchemaTree = schema.get("properties") or {}
    others = schema.get("additionalProperties")
    if others is not None:
        if properties and others is not True:
            detail = "additionalProperties and properties are mutual exclusive"
            found.schema.append(forbidden(f"{path}.additionalProperties", detail))
        if isinstance(others, Mapping):
            why = "inside additionalProperties applying to object metadata" if walk.in_metadata else walk.no_defaults
            _open_api(walk.below(others, "additionalProperties", no_defaults=why), found)
    is_resource = walk.is_root or bool(schema.get("x-kubernetes-embedded-resource"))
    is_correlatable = schema.get("x-kubernetes-map-type") in (None, "granular", "atomic")
    for name, below in properties.items():
        changes: dict[str, Any] = {}
        if not is_correlatable:
            changes["uncorrelatable"] = walk.node.uncorrelatable or path
        if is_resource and name in _TYPE_FIELDS:
            changes["in_metadata"] = True
            if walk.is_root:
                changes["no_defaults"] = f"in top-level {name}"
        _open_api(walk.below(below, f"properties[{name}]", **changes), found)
    for step, below in _alternatives(schema):
        _open_api(walk.below(below, step, rules=None), found)
    items = schema.get("items")
    uncorrelatable = walk.node.uncorrelatable
    if schema.get("x-kubernetes-list-type") != "map":
        uncorrelatable = uncorrelatable or path
    if isinstance(items, Mapping):
        _open_api(walk.below(items, "items", uncorrelatable=uncorrelatable), found)


def _alternatives(schema: SchemaTree) -> Iterator[tuple[str, SchemaTree]]:
    if isinstance(schema.get("not"), Mapping):
        yield "not", schema["not"]
    for name in ("allOf", "oneOf", "anyOf"):
        for at, below in enumerate(schema.get(name) or ()):
            yield f"{name}[{at}]", below


def _extensions(schema: SchemaTree, path: str) -> Iterator[FieldError]:
    given = schema.get("type") or ""
    if schema.get("x-kubernetes-preserve-unknown-fields") is False:
        yield invalid(f"{path}.x-kubernetes-preserve-unknown-fields", False, "must be true or undefined")
    map_type, list_type = schema.get("x-kubernetes-map-type"), schema.get("x-kubernetes-list-type")
    if map_type is not None:
        if given != "object":
            detail = "must be object if x-kubernetes-map-type is specified"
            yield invalid(f"{path}.type", given, detail) if given else required(f"{path}.type", detail)
        if map_type not in ("atomic", "granular"):
            yield not_supported(f"{path}.x-kubernetes-map-type", map_type, ("atomic", "granular"))
    if list_type is not None:
        if given != "array":
            detail = "must be array if x-kubernetes-list-type is specified"
            yield invalid(f"{path}.type", given, detail) if given else required(f"{path}.type", detail)
        elif list_type == "set" and isinstance(schema.get("items"), Mapping):
            yield from _set_items(schema["items"], f"{path}.items")
        if list_type not in _LIST_TYPES:
            yield not_supported(f"{path}.x-kubernetes-list-type", list_type, _LIST_TYPES)


def _set_items(items: SchemaTree, path: str) -> Iterator[FieldError]:
    detail = "must be atomic as item of a list with x-kubernetes-list-type=set"
    list_type = items.get("x-kubernetes-list-type")
    if items.get("type") == "array" and list_type not in (None, "atomic"):
        yield invalid(f"{path}.x-kubernetes-list-type", list_type, detail)
    if items.get("type") == "object" and items.get("x-kubernetes-map-type") != "atomic":
        # The value shown is that of the other extension, there as here.
        yield invalid(f"{path}.x-kubernetes-map-type", list_type, detail)


def _map_keys(schema: SchemaTree, path: str) -> Iterator[FieldError]:
    keys: list[str] = schema.get("x-kubernetes-list-map-keys") or []
    list_type, items = schema.get("x-kubernetes-list-type"), schema.get("items")
    place = f"{path}.x-kubernetes-list-map-keys"
    if keys and list_type != "map":
        detail = "must be map if x-kubernetes-list-map-keys is non-empty"
        at = f"{path}.x-kubernetes-list-type"
        yield required(at, detail) if list_type is None else invalid(at, list_type, detail)
    if list_type == "map":
        if not keys:
            yield required(place, "must not be empty if x-kubernetes-list-type is map")
        if items is None:
            yield required(f"{path}.items", "must have a schema if x-kubernetes-list-type is map")
        elif not isinstance(items, Mapping):
            yield invalid(f"{path}.items", items, "must only have a single schema if x-kubernetes-list-type is map")
        elif items.get("type") != "object":
            detail = "must be object if parent array's x-kubernetes-list-type is map"
            yield invalid(f"{path}.items.type", items.get("type") or "", detail)
        else:
            yield from _key_properties(items, keys, path)
    if list_type in ("map", "set") and isinstance(items, Mapping):
        if items.get("nullable"):
            yield forbidden(f"{path}.items.nullable", f"cannot be nullable when x-kubernetes-list-type is {list_type}")
        if list_type == "map":
            yield from _keys_are_there(items, keys, f"{path}.items")


def _key_properties(items: SchemaTree, keys: list[str], path: str) -> Iterator[FieldError]:
    properties = items.get("properties") or {}
    place = f"{path}.x-kubernetes-list-map-keys"
    for at, key in enumerate(keys):
        if key not in properties:
            yield invalid(place, keys, "entries must all be names of item properties")
        elif properties[key].get("type") in ("array", "object"):
            detail = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            yield invalid(f"{path}.items.properties[{key}].type", items.get("type") or "", detail)
        if key in keys[:at]:
            yield invalid(place, keys, "must not contain duplicate entries")


def _keys_are_there(items: SchemaTree, keys: list[str], path: str) -> Iterator[FieldError]:
    properties = items.get("properties") or {}
    for key in keys:
        given = properties.get(key)
        if given is None:
            continue
        place = f"{path}.properties[{key}]"
        told = "this property is in x-kubernetes-list-map-keys, so it"
        if key not in (items.get("required") or ()) and given.get("default") is None:
            yield required(f"{place}.default", f"{told} must have a default or be a required property")
        if given.get("nullable"):
            yield forbidden(f"{place}.nullable", f"{told} cannot be nullable")


def _rules(schema: SchemaTree, path: str) -> Iterator[FieldError]:
    """The texts beside the expressions; the expressions themselves are the checker's."""
    for at, one in enumerate(schema["x-kubernetes-validations"]):
        place = f"{path}.x-kubernetes-validations[{at}]"
        rule, message = one.get("rule", "").strip(), one.get("message", "")
        if not rule:
            yield required(f"{place}.rule", "rule is not specified")
        elif message and not message.strip():
            yield invalid(f"{place}.message", message, "must be non-empty if specified")
        elif _has_lines(message.strip()):
            yield invalid(f"{place}.message", message, "must not contain line breaks")
        elif _has_lines(rule) and not message.strip():
            yield required(f"{place}.message", "message must be specified if rule contains line breaks")
        expression = one.get("messageExpression", "")
        if expression and not expression.strip():
            yield required(f"{place}.messageExpression", "messageExpression must be non-empty if specified")
        if one.get("reason") is not None and one["reason"] not in _REASONS:
            yield not_supported(f"{place}.reason", one["reason"], _REASONS)
        yield from _field_path(schema, one.get("fieldPath", ""), f"{place}.fieldPath")


def _field_path(schema: SchemaTree, given: str, place: str) -> Iterator[FieldError]:
    if not given:
        return
    if not given.strip():
        yield invalid(place, given, "must be non-empty if specified")
    if _has_lines(given):
        yield invalid(place, given, "must not contain line breaks")
    try:
        resolve(given, schema)
    except ValueError:
        yield invalid(place, given, "must be a valid path")


def _has_lines(text: str) -> bool:
    return "\n" in text or "\r" in text
