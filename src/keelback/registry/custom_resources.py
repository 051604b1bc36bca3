"""The strategy of custom resources: made from a CustomResourceDefinition, one for each served version."""

from __future__ import annotations

import copy
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, ClassVar

import msgspec

from keelback.api.apiextensions_v1 import CustomResourceDefinition, CustomResourceDefinitionVersion
from keelback.apimachinery import (
    codecs,
    errors,
    field_set,
    structural_schema_lists,
    structural_schema_objects,
    unstructured,
)
from keelback.apimachinery import schema as managed_schema
from keelback.apimachinery import structural_schema as structural
from keelback.apimachinery import structural_schema_validation as validation
from keelback.apimachinery.errors import FieldError
from keelback.apimachinery.go_text import go_quoted
from keelback.apimachinery.meta import ObjectMeta, make_kind, replace
from keelback.apimachinery.structural_schema import SchemaTree
from keelback.apimachinery.unstructured import Unstructured, with_content
from keelback.cel.environment import Patience
from keelback.registry import custom_resource_columns, custom_resource_paths, custom_resource_rules
from keelback.registry.custom_resource_rules import RuleValidator
from keelback.registry.strategy import Strategy

_TYPE_FIELDS = frozenset(("kind", "apiVersion", "metadata"))
_SHOWN_BYTES = 30
_REMEMBERED_WARNINGS = 64
"""Of so many writes that are being answered it is known of which broken rules they are to be warned."""


class _Type(msgspec.Struct):
    apiVersion: str = ""  # noqa: N815 - a name on the wire


_TYPE = msgspec.json.Decoder(_Type)


class CustomResourceStrategy(Strategy[Unstructured]):
    """A custom resource in one version. Make it with `strategy_of`."""

    verbs = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
    needs_resource_version_to_update = True
    bare_finalizers = True
    takes_strategic_merge_patches = False
    field_type: ClassVar[Any] = dict
    has_status: ClassVar[bool] = False
    not_owned_by_status = field_set.of(("spec",), ("metadata",))

    def __init__(
        self, definition: CustomResourceDefinition, version: CustomResourceDefinitionVersion, *, is_converted: bool
    ) -> None:
        self.version = replace(version, schema=None)
        # Packed until they are used: most definitions of a cluster have no objects for most of the time.
        self._packed = {one.name: _packed(one) for one in definition.spec.versions}
        storage = next(one for one in definition.spec.versions if one.storage)
        self._stored_name = version.name if is_converted else storage.name
        self._is_converted = is_converted
        self._is_stored_version = self._stored_name == version.name
        self._patience: Patience | None = None
        self._ratcheted: deque[tuple[Mapping[str, Any], list[FieldError]]] = deque(maxlen=_REMEMBERED_WARNINGS)
        self._structural_of: dict[str, SchemaTree | None] = {}
        kind = self.kind.__kind__
        self._head = kind.head
        self._stored_head = make_kind(f"{definition.spec.group}/{storage.name}", kind.kind, kind.plural).head

    @cached_property
    def open_api(self) -> dict[str, Any]:
        """The version's schema."""
        return self.unpacked()

    def unpacked(self) -> dict[str, Any]:
        """The same, for who does not keep it."""
        return _unpacked(self._packed[self.version.name])

    @cached_property
    def _structural(self) -> SchemaTree:
        return _without_type_fields(self.open_api)

    @property
    def _storage(self) -> SchemaTree:
        if self._is_stored_version:
            return self._structural
        found = self._schema_of(self._stored_name)
        assert found is not None, "the storage version has a schema"
        return found

    @cached_property
    def _managed(self) -> managed_schema.Schema:
        return managed_schema.of_custom_resource(self.open_api)

    def fields(self, narrow: Any) -> Mapping[str, str]:
        found = {}
        for path in self.version.selectable_fields:
            value = custom_resource_paths.first(narrow, path.json_path)
            missing = value is None or value is custom_resource_paths.MISSING
            text = "" if missing else value if isinstance(value, str) else msgspec.json.encode(value).decode()
            found[path.json_path.removeprefix(".")] = text
        return found

    # From bytes and trees, and back.

    def decode(self, data: bytes) -> Unstructured:
        return unstructured.decode(self.kind, data)

    def decode_body(self, data: bytes) -> Unstructured:
        tree = codecs.loads(data)
        kind = self.kind.__kind__.kind
        for name, shown in (("kind", "Kind"), ("apiVersion", "apiVersion")):
            if not tree.get(name):
                text = data.decode(errors="replace")
                start = f"{text[:_SHOWN_BYTES]} ..." if len(text) > _SHOWN_BYTES else text
                raise errors.BadRequest(
                    f"the object provided is unrecognized (must be of type {kind}): "
                    f"Object '{shown}' is missing in '{text}' ({start})"
                )
        self._check_type(tree)
        return self.from_tree(tree)

    def _check_type(self, tree: Mapping[str, Any]) -> None:
        """Raises BadRequest for another version, Invalid for another kind."""
        own = self.kind.__kind__
        version, name = tree["apiVersion"], tree["kind"]
        if version != own.api_version:
            raise errors.BadRequest(
                f"the API version in the data ({version}) does not match the expected API version ({own.api_version})"
            )
        if name != own.kind:
            given = make_kind(version, name, own.plural)
            problem = errors.invalid("kind", name, f"must be {own.kind}")
            metadata = tree.get("metadata")
            shown = str(metadata.get("name", "")) if isinstance(metadata, Mapping) else ""
            raise errors.Invalid.of(given, shown, [problem])

    def from_tree(self, tree: Mapping[str, Any]) -> Unstructured:
        if not isinstance(tree, Mapping):
            found = {list: "array", str: "string", bool: "bool", int: "number", float: "number"}.get(type(tree), "null")
            raise codecs.DecodeError(f"json: cannot unmarshal {found} into Go value of type map[string]interface {{}}")
        metadata = codecs.convert(ObjectMeta, tree.get("metadata") or {})
        made: Unstructured = self.kind(metadata=metadata, content=self._shaped(_content(tree), self._structural))
        return made

    def _shaped(self, content: dict[str, Any], schema: SchemaTree) -> dict[str, Any]:
        kept = structural.pruned(_whole_numbers(content), schema, is_root=True)
        shaped: dict[str, Any] = structural.defaulted(
            structural.with_embedded_metadata(kept, schema, is_root=True), schema
        )
        return shaped

    def strict_errors(self, tree: Any) -> list[str]:
        if not isinstance(tree, dict):
            return []
        found = codecs.strict_errors({"metadata": tree.get("metadata")}, unstructured.Unstructured)
        found.extend(f'duplicate field "{one}"' for one in _repeated(tree))
        found.extend(f'unknown field "{one}"' for one in structural.unknown_fields(_content(tree), self._structural))
        return list(dict.fromkeys(found))

    def schema(self) -> managed_schema.Schema:
        return self._managed

    def encode(self, obj: Unstructured) -> bytes:
        if not self._is_stored_version:
            obj = with_content(obj, self._shaped(dict(obj.content), self._storage))
        return codecs.encode_stored(obj)

    def to_storage(self, data: bytes) -> bytes:
        return self._stored_head + data[len(self._head) :] if not self._is_stored_version else data

    def from_storage(self, data: bytes) -> bytes:
        """Any version's bytes as this version's: with the defaults of that one, and only what this one has."""
        if self._is_converted:
            return data
        schema = self._schema_of(_TYPE.decode(data).apiVersion.rpartition("/")[2])
        obj = unstructured.decode(self.kind, data)
        return self._kept(obj, obj.content if schema is None else structural.defaulted(obj.content, schema))

    def as_read(self, tree: dict[str, Any]) -> dict[str, Any]:
        """A stored object with the defaults of the version it is stored in."""
        schema = self._schema_of(tree.get("apiVersion", "").rpartition("/")[2])
        return tree if schema is None else {**tree, **structural.defaulted(_content(tree), schema)}

    def from_converted(self, tree: dict[str, Any]) -> bytes:
        """The bytes of an object that was brought to this version: with what its schema has, and no more."""
        obj = unstructured.decode(self.kind, msgspec.json.encode(tree))
        return self._kept(obj, obj.content)

    def _kept(self, obj: Unstructured, content: Mapping[str, Any]) -> bytes:
        # Nothing here may fail on what is stored: a cache follows every object, whoever wrote it.
        kept = structural.pruned(content, self._structural, is_root=True)
        return codecs.encode_stored(with_content(obj, kept))

    def _schema_of(self, version: str) -> SchemaTree | None:
        """The schema of another version, without what every object has; None where there is no such version."""
        if version == self.version.name:
            return self._structural
        if version not in self._structural_of:
            packed = self._packed.get(version)
            self._structural_of[version] = None if packed is None else _without_type_fields(_unpacked(packed))
        return self._structural_of[version]

    # Writing.

    def prepare_for_create(self, new: Unstructured) -> Unstructured:
        return self.without_status(new)

    def prepare_for_status_update(self, new: Unstructured, old: Unstructured) -> Unstructured:
        metadata = replace(old.metadata, managed_fields=new.metadata.managed_fields)
        return replace(new, metadata=metadata, content=_with_status(old.content, new.content))

    def without_status(self, new: Unstructured) -> Unstructured:
        if not self.has_status or "status" not in new.content:
            return new
        return with_content(new, _with_status(new.content, {}))

    def with_status_of(self, new: Unstructured, old: Unstructured) -> Unstructured:
        return with_content(new, _with_status(new.content, old.content)) if self.has_status else new

    def spec_changed(self, new: Unstructured, old: Unstructured) -> bool:
        if not self.has_status:
            return new.content != old.content
        return _with_status(new.content, {}) != _with_status(old.content, {})

    def warnings(self, new: Unstructured, old: Unstructured | None) -> Iterator[str]:
        """Finalizers that may be another's, and rules that are broken but were so before."""
        known = old.metadata.finalizers if old is not None else ()
        for one in sorted(set(new.metadata.finalizers) - set(known)):
            if "/" not in one and one not in ("orphan", "foregroundDeletion", "kubernetes"):
                told = "prefer a domain-qualified finalizer name including a path (/) to avoid accidental conflicts"
                yield f"metadata.finalizers: {go_quoted(one)}: {told} with other finalizer writers"
        for content, ratcheted in self._ratcheted:
            if content is new.content:
                yield from (f"{one.field}: {one.body}" for one in ratcheted)
                break

    # Validation.

    def read_by_rules(self, obj: Unstructured) -> Any:
        return None if self._rules is None else obj.content

    def patient(self, patience: Patience) -> CustomResourceStrategy:
        other = copy.copy(self)
        other._patience = patience
        return other

    def validate(self, new: Unstructured) -> Iterator[FieldError]:
        found = [
            *validation.validate(self._validated(new), self.open_api),
            *self._scale_problems(new, is_status=None),
            *structural_schema_objects.problems(new.content, self._structural),
            *structural_schema_lists.duplicates(new.content, self._structural),
        ]
        return iter([*found, *self._broken_rules(found, new, None)])

    def validate_update(self, new: Unstructured, old: Unstructured) -> Iterator[FieldError]:
        found = [
            *validation.validate(self._validated(new), self.open_api, "", self._validated(old)),
            *self._scale_problems(new, is_status=None),
            *self._unratcheted(new, old),
        ]
        return iter([*found, *self._broken_rules(found, new, old)])

    def validate_status_update(self, new: Unstructured, old: Unstructured) -> Iterator[FieldError]:
        found: list[FieldError] = []
        schema = (self.open_api.get("properties") or {}).get("status")
        if schema is not None and "status" in new.content:
            before = old.content.get("status", validation.MISSING)
            found.extend(validation.validate_below("status", new.content["status"], schema, before))
        found.extend(self._scale_problems(new, is_status=True))
        found.extend(self._unratcheted(new, old))
        return iter([*found, *self._broken_rules(found, new, old)])

    @cached_property
    def _rules(self) -> RuleValidator | None:
        return custom_resource_rules.validator(self.open_api)

    def _broken_rules(
        self, found: list[FieldError], new: Unstructured, old: Unstructured | None
    ) -> Iterator[FieldError]:
        if self._rules is None:
            return
        blocked = custom_resource_rules.blocking(found)
        if blocked is not None:
            yield blocked
            return
        before = validation.MISSING if old is None else _whole(old)
        broken, ratcheted = self._rules.validate(_whole(new), before, patience=self._patience)
        if ratcheted:
            self._ratcheted.appendleft((new.content, ratcheted))
        yield from broken

    def _unratcheted(self, new: Unstructured, old: Unstructured) -> Iterator[FieldError]:
        yield from structural_schema_objects.problems(new.content, self._structural)
        if not any(structural_schema_lists.duplicates(old.content, self._structural)):
            yield from structural_schema_lists.duplicates(new.content, self._structural)

    def _validated(self, obj: Unstructured) -> dict[str, Any]:
        kind = obj.__kind__
        properties = self.open_api.get("properties") or {}
        given = {"name": obj.metadata.name, "generateName": obj.metadata.generate_name}
        named = {name: value for name, value in given.items() if value}
        tree: dict[str, Any] = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": named, **obj.content}
        if "properties" not in (properties.get("metadata") or {}):
            tree["metadata"] = {}
        return tree

    def _scale_problems(self, new: Unstructured, *, is_status: bool | None) -> Iterator[FieldError]:
        scale = self.version.subresources.scale if self.version.subresources else None
        if scale is None:
            return
        for path in (scale.spec_replicas_path, scale.status_replicas_path):
            if is_status and not path.startswith(".status"):
                continue
            value = custom_resource_paths.first(new.content, path)
            if value is custom_resource_paths.MISSING or value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int):
                given = {str: "string", bool: "bool", float: "float64"}.get(type(value), "map[string]interface {}")
                complaint = f"{path} accessor error: {value} is of the type {given}, expected int64"
                yield errors.invalid(path, 0, complaint)
            elif value < 0:
                yield errors.invalid(path, value, "should be a non-negative integer")
            elif value >= 2**31:
                yield errors.invalid(path, value, f"should be less than or equal to {2**31 - 1}")


def strategy_of(
    definition: CustomResourceDefinition, version: CustomResourceDefinitionVersion, *, is_converted: bool = False
) -> CustomResourceStrategy:
    """The strategy of one version of a custom resource. With `is_converted` the store holds nothing but this version:
    a webhook sees to the others."""
    spec = definition.spec
    names = spec.names
    kind = make_kind(
        f"{spec.group}/{version.name}",
        names.kind,
        names.plural,
        namespaced=spec.scope == "Namespaced",
        singular=names.singular,
        short_names=names.short_names,
        categories=names.categories,
        list_kind=names.list_kind,
    )
    parts = version.subresources
    has_status = parts is not None and parts.status is not None
    subresources = tuple(
        name for name, given in (("status", has_status), ("scale", parts is not None and parts.scale)) if given
    )
    made: type[CustomResourceStrategy] = type(
        f"{names.kind}Strategy",
        (CustomResourceStrategy,),
        {
            "kind": unstructured.class_of(kind),
            "columns": custom_resource_columns.columns(version.additional_printer_columns),
            "subresources": subresources,
            "has_status": has_status,
            "storage_path": f"{spec.group}/{names.plural}",
            "refuses_other_fields": any(one.selectable_fields for one in spec.versions),
            "field_names": tuple(one.json_path.removeprefix(".") for one in version.selectable_fields),
        },
    )
    return made(definition, version, is_converted=is_converted)


def _packed(version: CustomResourceDefinitionVersion) -> bytes:
    return zlib.compress(msgspec.json.encode(open_api_of(version)), 1)


def _unpacked(packed: bytes) -> dict[str, Any]:
    tree: dict[str, Any] = msgspec.json.decode(zlib.decompress(packed))
    return tree


def open_api_of(version: CustomResourceDefinitionVersion) -> dict[str, Any]:
    """A version's schema as a JSON tree."""
    given = version.schema.open_api_v3_schema if version.schema else None
    if given is None:
        return dict(structural.PRESERVING)
    tree: dict[str, Any] = _whole_numbers(msgspec.json.decode(msgspec.json.encode(given)))
    return tree


def _whole(obj: Unstructured) -> dict[str, Any]:
    kind = obj.__kind__
    metadata = unstructured.metadata_tree(obj)
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **obj.content}


def _without_type_fields(schema: SchemaTree) -> SchemaTree:
    properties = schema.get("properties") or {}
    return {**schema, "properties": {name: one for name, one in properties.items() if name not in _TYPE_FIELDS}}


def _content(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in tree.items() if name not in _TYPE_FIELDS}


def _with_status(content: Mapping[str, Any], source: Mapping[str, Any]) -> dict[str, Any]:
    made = {name: value for name, value in content.items() if name != "status"}
    if "status" in source:
        made["status"] = source["status"]
    return made


def _whole_numbers(value: Any) -> Any:
    """The tree with 1.0 as 1, as Go writes it."""
    match value:
        case dict():
            return {name: _whole_numbers(one) for name, one in value.items()}
        case list():
            return [_whole_numbers(one) for one in value]
        case float() if value.is_integer() and abs(value) < 2**53:
            return int(value)
    return value


def _repeated(tree: Any, path: str = "") -> Iterator[str]:
    if isinstance(tree, dict):
        for name in tree.repeated if isinstance(tree, codecs.Duplicated) else ():
            yield f"{path}{name}"
        for name, one in tree.items():
            yield from _repeated(one, f"{path}{name}.")
    elif isinstance(tree, list):
        for at, one in enumerate(tree):
            yield from _repeated(one, f"{path.removesuffix('.')}[{at}].")
