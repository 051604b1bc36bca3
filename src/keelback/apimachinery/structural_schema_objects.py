"""Objects embedded in custom resources: what their apiVersion, kind and metadata may be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from keelback.apimachinery import codecs, names
from keelback.apimachinery.errors import FieldError, invalid, required
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.apimachinery.structural_schema import SchemaTree
from keelback.apimachinery.validation import object_meta


def problems(value: Any, schema: SchemaTree, path: str = "", *, is_resource: bool = False) -> Iterator[FieldError]:
    """Everything wrong with the embedded objects in a value. With `is_resource` the value itself is one."""
    if isinstance(value, list):
        items = schema.get("items")
        if isinstance(items, Mapping):
            for at, one in enumerate(value):
                yield from problems(one, items, f"{path}[{at}]")
    elif isinstance(value, dict):
        if is_resource or schema.get("x-kubernetes-embedded-resource"):
            yield from _resource(value, path)
        properties, others = schema.get("properties") or {}, schema.get("additionalProperties")
        for name, one in value.items():
            if name in properties:
                yield from problems(one, properties[name], _below(path, name))
            elif isinstance(others, Mapping):
                yield from problems(one, others, f"{path}[{name}]")


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _resource(value: Mapping[str, Any], path: str) -> Iterator[FieldError]:
    for name in ("apiVersion", "kind"):
        place, given = _below(path, name), value.get(name)
        if name not in value or given == "":
            yield required(place)
        elif not isinstance(given, str):
            yield invalid(place, given, "must be a string")
        elif name == "kind":
            complaints = names.dns1035_label(given.lower())
            if complaints:
                text = f"may have mixed case, but should otherwise match: {','.join(complaints)}"
                yield invalid(place, given, text)
        elif given.count("/") > 1:
            yield invalid(place, given, f"unexpected GroupVersion string: {given}")
    if "metadata" not in value:
        return
    place = _below(path, "metadata")
    try:
        metadata = codecs.convert(ObjectMeta, value["metadata"])
    except codecs.DecodeError as error:
        yield invalid(place, value["metadata"], str(error))
        return
    named = metadata if metadata.name else replace(metadata, name="fakename")
    yield from object_meta(
        named,
        namespaced=bool(metadata.namespace),
        name_problems=names.path_segment,
        path=place,
        bare_finalizers=True,
    )
