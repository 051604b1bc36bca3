"""The published schemas of a Kubernetes version, as OpenAPI v2 says them and as v3 does.

They come with the kubernetes-validate package. They are large, so they are read for each document and not kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

import msgspec

from keelback.apimachinery import kubernetes_versions
from keelback.registry import published_schemas

Schema = dict[str, Any]

V2_PREFIX: Final = "#/definitions/"
V3_PREFIX: Final = "#/components/schemas/"

_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1"
OBJECT_META: Final = f"{_META}.ObjectMeta"
LIST_META: Final = f"{_META}.ListMeta"
STATUS: Final = f"{_META}.Status"
DELETE_OPTIONS: Final = f"{_META}.DeleteOptions"
PATCH: Final = f"{_META}.Patch"
WATCH_EVENT: Final = f"{_META}.WatchEvent"

_API_VERSION: Final = {
    "description": "APIVersion defines the versioned schema of this representation of an object. Servers should "
    "convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources",
    "type": "string",
}
_KIND: Final = {
    "description": "Kind is a string value representing the REST resource this object represents. Servers may infer "
    "this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds",
    "type": "string",
}
_OBJECT_METADATA_TEXT: Final = (
    "Standard object's metadata. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"
)
_LIST_METADATA_TEXT: Final = (
    "Standard list metadata. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds"
)
_INT_OR_STRING: Final = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
_QUANTITY: Final = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_WRITTEN_DIFFERENTLY: Final[dict[str, tuple[Schema, Schema]]] = {
    _INT_OR_STRING: (
        {
            "description": "IntOrString is a type that can hold an int32 or a string.  When used in JSON or YAML "
            "marshalling and unmarshalling, it produces or consumes the inner type.  This allows you to have, for "
            "example, a JSON field that can accept a name or number.",
            "format": "int-or-string",
        },
        {"oneOf": [{"type": "integer"}, {"type": "string"}]},
    ),
    _QUANTITY: (
        {},  # its description is a page of its own
        {"oneOf": [{"type": "string"}, {"type": "number"}]},
    ),
}


class _Kinds(msgspec.Struct):
    kinds: list[dict[str, str]] = msgspec.field(default_factory=list, name="x-kubernetes-group-version-kind")


class _Document(msgspec.Struct):
    schemas: dict[str, msgspec.Raw] = msgspec.field(name="$defs")


class Schemas:
    """The schemas of one version while a document is made, with those of custom resources added.

    Custom resources' schemas are given as v3 has them; their references begin with `V3_PREFIX`.
    """

    def __init__(self, version: str, extra: Mapping[str, Schema]) -> None:
        document = published_schemas.document(kubernetes_versions.parse(version))
        self._published = msgspec.json.decode(document, type=_Document).schemas
        self._extra = extra
        self._names: dict[tuple[str, str, str], str] = {}
        read_kinds = msgspec.json.Decoder(_Kinds)
        for name, raw in self._published.items():
            self._note(name, read_kinds.decode(raw).kinds)
        for name, schema in extra.items():
            self._note(name, schema.get("x-kubernetes-group-version-kind", ()))

    def _note(self, name: str, kinds: Iterable[Mapping[str, str]]) -> None:
        for one in kinds:
            self._names.setdefault((one["group"], one["version"], one["kind"]), name)

    def name_of(self, group: str, version: str, kind: str) -> str | None:
        """The name of a kind's schema, or None when none is published."""
        return self._names.get((group, version, kind))

    def v2(self, roots: Iterable[str]) -> dict[str, Schema]:
        """The definitions that the named ones reach, by name."""
        return self._closure(roots, V2_PREFIX)

    def v3(self, roots: Iterable[str]) -> dict[str, Schema]:
        """The component schemas that the named ones reach, by name."""
        return self._closure(roots, V3_PREFIX)

    def _closure(self, roots: Iterable[str], prefix: str) -> dict[str, Schema]:
        found: dict[str, Schema] = {}
        waiting = set(roots)
        while waiting:
            name = waiting.pop()
            if name in found:
                continue
            found[name] = self._schema(name, prefix, waiting)
        return dict(sorted(found.items()))

    def _schema(self, name: str, prefix: str, references: set[str]) -> Schema:
        if (own := self._extra.get(name)) is not None:
            schema: Schema = _as_v2(own, references) if prefix == V2_PREFIX else _with_references(own, references)
            return schema
        if (written := _WRITTEN_DIFFERENTLY.get(name)) is not None:
            common, v3_only = written
            if name == _QUANTITY:
                text = files("keelback.apiserver").joinpath("openapi_quantity.txt").read_text("utf-8")
                common = {"description": text}
            return {**common, **({"type": "string"} if prefix == V2_PREFIX else v3_only)}
        schema = _convert(msgspec.json.decode(self._published[name]), prefix, references)
        if "x-kubernetes-group-version-kind" in schema:
            # Only the package says which values these may have: the API itself does not.
            for field in ("apiVersion", "kind"):
                schema.get("properties", {}).get(field, {}).pop("enum", None)
        return schema


def _told_apart(schema: Schema) -> Schema:
    """A schema with what its extensions mean spelled out: integers or strings, whole objects inside the object."""
    made = dict(schema)
    if isinstance(made.get("properties"), dict):
        made["properties"] = {name: _told_apart(one) for name, one in made["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(made.get(key), dict):
            made[key] = _told_apart(made[key])
    if made.get("x-kubernetes-int-or-string") and "anyOf" not in made and "allOf" not in made:
        made["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    if made.get("x-kubernetes-embedded-resource"):
        made["properties"] = {**made.get("properties", {}), **_EMBEDDED}
        made["required"] = ["kind", "apiVersion", *(one for one in made.get("required", ()) if one not in _EMBEDDED)]
    return made


def _convert(schema: Any, prefix: str, references: set[str]) -> Any:
    """A published schema in the form of a document; adds what it refers to."""
    if isinstance(schema, list):
        return [_convert(one, prefix, references) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made: Schema = {}
    for key, value in schema.items():
        if key == "type" and isinstance(value, list):
            made[key] = next(one for one in value if one != "null")
        elif key == "$ref" and isinstance(value, str):
            name = value.removeprefix(published_schemas.REFERENCE_PREFIX)
            references.add(name)
            made[key] = prefix + name
        elif key == "properties":
            made[key] = {name: _convert(one, prefix, references) for name, one in value.items()}
        else:
            made[key] = _convert(value, prefix, references)
    if prefix == V3_PREFIX and "$ref" in made and len(made) > 1:
        # Version 3 ignores what stands beside a reference.
        made["allOf"] = [{"$ref": made.pop("$ref")}]
    return made


def _with_references(schema: Any, references: set[str]) -> Any:
    if isinstance(schema, list):
        for one in schema:
            _with_references(one, references)
    elif isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref" and isinstance(value, str):
                references.add(value.removeprefix(V3_PREFIX))
            else:
                _with_references(value, references)
    return schema


_NOT_IN_V2: Final = frozenset({"oneOf", "anyOf", "not", "nullable", "default", "x-kubernetes-validations"})


def _as_v2(schema: Schema, references: set[str]) -> Schema:
    """A custom resource's schema without what version 2 cannot say: it must never refuse what the server accepts."""
    made: Schema = {key: value for key, value in schema.items() if key not in _NOT_IN_V2 and key != "allOf"}
    for one in schema.get("allOf", ()):
        if "$ref" in one:
            name = one["$ref"].removeprefix(V3_PREFIX)
            references.add(name)
            made["$ref"] = V2_PREFIX + name
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(V3_PREFIX)
        references.add(name)
        made["$ref"] = V2_PREFIX + name
    if schema.get("nullable") or schema.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
        made.pop("items", None)
        made.pop("properties", None)
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        made.pop("items", None)
        made.pop("properties", None)
        if not schema.get("x-kubernetes-embedded-resource"):
            made.pop("type", None)
    if isinstance(made.get("properties"), dict):
        made["properties"] = {name: _as_v2(one, references) for name, one in made["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(made.get(key), dict):
            made[key] = _as_v2(made[key], references)
    return made


_EMBEDDED: Final = {
    "apiVersion": {
        "description": "apiVersion defines the versioned schema of this representation of an object. More info: "
        "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources",
        "type": "string",
    },
    "kind": {
        "description": "kind is a string value representing the type of this object. In CamelCase. More info: "
        "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds",
        "type": "string",
    },
    "metadata": {"description": _OBJECT_METADATA_TEXT, "allOf": [{"$ref": V3_PREFIX + OBJECT_META}]},
}


def custom_resource_schemas(
    group: str,
    version: str,
    kind: str,
    list_kind: str,
    schema: Schema | None,
    selectable: Sequence[str] = (),
) -> dict[str, Schema]:
    """The schemas that a custom resource adds: its own, from the `openAPIV3Schema` of its version, and its list's.

    `selectable` are the paths that field selectors may name.
    """
    reversed_group = ".".join(reversed(group.split(".")))
    name, list_name = f"{reversed_group}.{version}.{kind}", f"{reversed_group}.{version}.{list_kind}"
    given = _told_apart(schema or {"type": "object", "x-kubernetes-preserve-unknown-fields": True})
    described = {
        "apiVersion": _API_VERSION,
        "kind": _KIND,
        "metadata": {"description": _OBJECT_METADATA_TEXT, "allOf": [{"$ref": V3_PREFIX + OBJECT_META}]},
    }
    given["properties"] = {**given.get("properties", {}), **described}
    given["x-kubernetes-group-version-kind"] = [{"group": group, "kind": kind, "version": version}]
    if selectable:
        given["x-kubernetes-selectable-fields"] = [{"fieldPath": path} for path in selectable]
    return {
        name: given,
        list_name: {
            "description": f"{list_kind} is a list of {kind}",
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": _API_VERSION,
                "items": {
                    "description": f"List of {kind.lower()}s. More info: https://git.k8s.io/community/contributors/devel/"
                    "sig-architecture/api-conventions.md",
                    "type": "array",
                    "items": {"$ref": V3_PREFIX + name},
                },
                "kind": _KIND,
                "metadata": {"description": _LIST_METADATA_TEXT, "allOf": [{"$ref": V3_PREFIX + LIST_META}]},
            },
            "x-kubernetes-group-version-kind": [{"group": group, "kind": list_kind, "version": version}],
        },
    }
