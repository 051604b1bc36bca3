"""Which fields the objects of a Kubernetes version have: its published schema's, without those of gates that are off.

The types of `keelback.api` are those of the default version. A field that a version does not know is unknown there
(strict decoding says so) and is not kept; one whose feature gate is off is known, and is not kept either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

import msgspec

from keelback.apimachinery import schema as merging
from keelback.apimachinery.meta import Object, replace
from keelback.apimachinery.schema import Field, Schema
from keelback.apimachinery.shapes import Shape
from keelback.registry.published_schemas import Part, PublishedSchemas


@dataclass(frozen=True, slots=True)
class Cut:
    """What a part loses: fields of its own, which get the value of what was not sent, and what its parts lose."""

    absent: tuple[tuple[str, Any], ...] = ()
    below: tuple[tuple[str, Cut], ...] = ()


def without(value: Any, cut: Cut) -> Any:
    """A value, or the elements of a list or map, without what is cut; the same object where it has nothing of it."""
    if isinstance(value, tuple):
        made = None
        for at, one in enumerate(value):
            new = without(one, cut)
            if new is not one:
                made = list(value) if made is None else made
                made[at] = new
        return value if made is None else tuple(made)
    if isinstance(value, Mapping):
        kept = {key: without(one, cut) for key, one in value.items()}
        return kept if any(kept[key] is not one for key, one in value.items()) else value
    changes: dict[str, Any] = {}
    for name, blank in cut.absent:
        held = getattr(value, name)
        if held is not blank and held != blank:
            changes[name] = blank
    for name, inner in cut.below:
        held = getattr(value, name)
        # Most of what there may be is not there.
        if held and (new := without(held, inner)) is not held:
            changes[name] = new
    return replace(value, **changes) if changes else value


class VersionFields:
    """The fields of one version. `off` are those of gates that are off: (type, name on the wire)."""

    def __init__(self, published: PublishedSchemas, off: frozenset[tuple[str, str]] = frozenset()) -> None:
        self.published = published
        self._off = off
        self._shapes: dict[str, Shape] = {}
        self._cuts: dict[tuple[type, str], Cut | None] = {}

    def cut_of(self, kind: type[Object]) -> Cut | None:
        """What objects of a kind lose; None where they lose nothing."""
        name = self._definition(kind)
        return None if name is None else self._cut(kind, name)

    def shape_of(self, kind: type[Object]) -> Shape | None:
        """What may stand in an object of a kind: the whole of it; None for a kind that is not published."""
        name = self._definition(kind)
        return None if name is None else self._shape(name)

    def schema_of(self, kind: type[Object], schema: Schema) -> Schema:
        """How objects of a kind merge: as `schema` says, with the version's fields alone."""
        name = self._definition(kind)
        return schema if name is None else self._merging(schema, name)

    def _definition(self, kind: type[Object]) -> str | None:
        described = kind.__kind__
        return self.published.name_of(described.group, described.version, described.kind)

    def _cut(self, cls: type, name: str) -> Cut | None:
        key = (cls, name)
        if key in self._cuts:
            return self._cuts[key]
        # A part inside itself loses what it loses outside: nothing more is to be known of it here.
        self._cuts[key] = None
        published = self.published.definitions[name].properties
        hints = get_type_hints(cls)
        absent: list[tuple[str, Any]] = []
        below: list[tuple[str, Cut]] = []
        for one in msgspec.structs.fields(cls) if published else ():
            part = published.get(one.encode_name)
            if part is None or (cls.__name__, one.encode_name) in self._off:
                absent.append((one.name, _blank(one)))
            elif (inner := _struct_of(hints[one.name])) is not None and part.name:
                cut = self._cut(inner, part.name)
                if cut is not None:
                    below.append((one.name, cut))
        made = self._cuts[key] = Cut(tuple(absent), tuple(below)) if absent or below else None
        return made

    def _shape(self, name: str) -> Shape:
        known = self._shapes.get(name)
        if known is not None:
            return known
        shape = self._shapes[name] = Shape()
        properties = self.published.definitions[name].properties
        if properties:
            shape.fields = {field: self._shape_of_part(part) for field, part in properties.items()}
        return shape

    def _shape_of_part(self, part: Part) -> Shape:
        if part.reference:
            return self._shape(part.name)
        shape = Shape()
        if part.items is not None:
            shape.item = self._shape_of_part(part.items)
        elif isinstance(part.values, Part):
            shape.values = self._shape_of_part(part.values)
        return shape

    def _merging(self, schema: Schema, name: str) -> Schema:
        """The schema with the fields of a definition; those that no type has are taken as they are sent."""
        published = self.published.definitions[name].properties
        if schema.shape is not merging.Shape.STRUCT or not published:
            return schema

        def load() -> dict[str, Field]:
            fields = schema.fields
            return {
                field: self._merging_field(fields[field], part) if field in fields else Field(field, merging.ANY)
                for field, part in published.items()
            }

        return _copy(schema, load_fields=load)

    def _merging_field(self, field: Field, part: Part) -> Field:
        schema, name = field.schema, part.name
        if not name:
            return field
        if schema.element is not None:
            made = _copy(schema, element=self._merging(schema.element, name))
        else:
            made = self._merging(schema, name)
        return field if made is schema else field.of(made)


def _copy(schema: Schema, **changes: Any) -> Schema:
    return Schema(
        schema.shape,
        atomic=schema.atomic,
        scalar=schema.scalar,
        element=changes.get("element", schema.element),
        list_type=schema.list_type,
        keys=schema.keys,
        load_fields=changes.get("load_fields"),
        native=schema.native,
    )


def _blank(field: msgspec.structs.FieldInfo) -> Any:
    made = field.default_factory is not msgspec.NODEFAULT
    return field.default_factory() if made else field.default


def _struct_of(annotation: Any) -> type | None:
    """The type of a part, of the elements of a list or of the values of a map; None for scalars."""
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return annotation
    return next((found for one in get_args(annotation) if (found := _struct_of(one)) is not None), None)
