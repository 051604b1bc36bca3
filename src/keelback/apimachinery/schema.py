"""How the parts of an object merge: what strategic merge patch and server-side apply need to know of a type.

The same view is made of the API's types, once per type, and of a custom resource's OpenAPI schema.
"""

from __future__ import annotations

import enum
import types
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Final, Union, get_args, get_origin

import msgspec

from keelback.apimachinery import meta


class Shape(enum.IntEnum):
    """What a value is made of."""

    SCALAR = 0
    STRUCT = 1
    MAP = 2
    LIST = 3
    ANY = 4
    """Free-form: the shape is the value's own; maps are granular and lists atomic."""


class Scalar(enum.Enum):
    """What a scalar may hold; server-side apply checks no closer than this."""

    STRING = "string"
    NUMERIC = "numeric"
    BOOLEAN = "boolean"
    UNTYPED = "untyped"


class ListType(enum.Enum):
    """How the elements of a list are told apart (`x-kubernetes-list-type`)."""

    ATOMIC = "atomic"
    SET = "set"
    MAP = "map"


class Missing(enum.Enum):
    """Stands for a value that is not there, where null is a value."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING


class Schema:
    """One part of a type. Struct fields are worked out when they are first asked for, so that types may recur."""

    __slots__ = (
        "_fields",
        "_load_fields",
        "atomic",
        "element",
        "is_leaf",
        "keys",
        "list_type",
        "native",
        "scalar",
        "shape",
    )

    def __init__(
        self,
        shape: Shape,
        *,
        atomic: bool = False,
        scalar: Scalar = Scalar.UNTYPED,
        element: Schema | None = None,
        list_type: ListType = ListType.ATOMIC,
        keys: Iterable[str] = (),
        load_fields: Callable[[], dict[str, Field]] | None = None,
        native: bool = False,
    ) -> None:
        self.shape = shape
        self.atomic = atomic or (shape is Shape.LIST and list_type is ListType.ATOMIC)
        self.scalar = scalar
        self.element = element
        """The schema of list elements, map values, or the fields of a struct that it does not name."""
        self.list_type = list_type
        self.keys = tuple(sorted(keys))
        self.native = native
        """Whether this part belongs to a built-in type, for which null and absent are the same."""
        self.is_leaf = shape is Shape.SCALAR or self.atomic
        """Whether the part is owned as a whole."""
        self._load_fields = load_fields
        self._fields: dict[str, Field] | None = None

    @property
    def fields(self) -> dict[str, Field]:
        """The declared fields of a struct by wire name."""
        if self._fields is None:
            self._fields = {} if self._load_fields is None else self._load_fields()
            self._load_fields = None
        return self._fields

    def below(self, name: str) -> Schema | None:
        """The schema of a member of a struct or map, or None if it is not declared."""
        field = self.fields.get(name)
        return self.element if field is None else field.schema

    def __repr__(self) -> str:
        return f"Schema({self.shape.name}{', atomic' if self.atomic else ''})"


class Field:
    """One declared field of a struct."""

    __slots__ = (
        "always",
        "default",
        "merges",
        "name",
        "patch_merge_key",
        "path_element",
        "replaces",
        "retains",
        "schema",
    )

    def __init__(
        self,
        name: str,
        schema: Schema,
        *,
        always: bool = False,
        default: Any = MISSING,
        merges: bool = False,
        retains: bool = False,
        replaces: bool = False,
        patch_merge_key: str = "",
    ) -> None:
        self.name = name
        self.path_element = f"f:{name}"
        self.schema = schema
        self.always = always
        """Whether Go's zero value of the parent has this field on the wire: then nobody owns its mere presence."""
        self.default = default
        """The value an absent list key counts as; `MISSING` where absence is an error."""
        self.merges = merges
        """Whether a strategic merge patch merges this list."""
        self.retains = retains
        """Whether a strategic merge patch may name the keys that stay."""
        self.replaces = replaces
        """Whether a strategic merge patch replaces this map."""
        self.patch_merge_key = patch_merge_key

    def of(self, schema: Schema) -> Field:
        """The same field of another schema."""
        return Field(
            self.name,
            schema,
            always=self.always,
            default=self.default,
            merges=self.merges,
            retains=self.retains,
            replaces=self.replaces,
            patch_merge_key=self.patch_merge_key,
        )


ANY: Final = Schema(Shape.ANY)
"""Free-form JSON of a custom resource."""

UNTYPED: Final = Schema(Shape.SCALAR)

# Types that upstream marks `+structType=atomic`, for where they are list elements; a field says it by `Atomic()`.
_ATOMIC_ELEMENTS: Final = frozenset({"LocalObjectReference", "ObjectReference", "OwnerReference", "Variable"})

# Maps with `patchStrategy=replace`: too few for a mark of their own.
_REPLACED: Final = frozenset({("PodDisruptionBudgetSpec", "selector")})

# Always on the wire by the API's default, which looks like Go's zero value but is not: in Go they are absent until set.
_ABSENT_UNTIL_DEFAULTED: Final = frozenset(
    {
        ("PodSpec", "securityContext"),
        ("StatefulSetSpec", "persistentVolumeClaimRetentionPolicy"),
        ("JobSpec", "suspend"),
        ("CronJobSpec", "suspend"),
        ("CSIDriverSpec", "podInfoOnMount"),
        ("CSIDriverSpec", "storageCapacity"),
        ("CSIDriverSpec", "requiresRepublish"),
        ("CSIDriverSpec", "seLinuxMount"),
        ("ValidatingAdmissionPolicyBindingSpec", "validationActions"),
    }
)

_SCALARS: Final[Mapping[Any, Schema]] = {
    str: Schema(Shape.SCALAR, scalar=Scalar.STRING, native=True),
    bytes: Schema(Shape.SCALAR, scalar=Scalar.STRING, native=True),
    datetime: Schema(Shape.SCALAR, scalar=Scalar.STRING, native=True),
    int: Schema(Shape.SCALAR, scalar=Scalar.NUMERIC, native=True),
    float: Schema(Shape.SCALAR, scalar=Scalar.NUMERIC, native=True),
    bool: Schema(Shape.SCALAR, scalar=Scalar.BOOLEAN, native=True),
}
_NATIVE_UNTYPED: Final = Schema(Shape.SCALAR, native=True)
_RAW: Final = Schema(Shape.ANY, atomic=True, native=True)
_STRING: Final = _SCALARS[str]


@cache
def schema_of(cls: type[msgspec.Struct]) -> Schema:
    """The schema of a built-in type."""
    return Schema(Shape.STRUCT, load_fields=lambda: _fields_of(cls), native=True)


@cache
def _atomic_of_type(cls: type[msgspec.Struct]) -> Schema:
    return Schema(Shape.STRUCT, load_fields=lambda: _fields_of(cls), native=True, atomic=True)


def _fields_of(cls: type[msgspec.Struct]) -> dict[str, Field]:
    fields = {info.encode_name: _field_of(info) for info in msgspec.structs.fields(cls)}
    for name, field in fields.items():
        mark = (cls.__name__, name)
        field.replaces = mark in _REPLACED
        field.always = field.always and mark not in _ABSENT_UNTIL_DEFAULTED
    if hasattr(cls, "__kind__"):
        fields["kind"] = Field("kind", _STRING)
        fields["apiVersion"] = Field("apiVersion", _STRING)
    return fields


def _field_of(info: msgspec.structs.FieldInfo) -> Field:
    marks, plain, optional = _taken_apart(info.type)
    schema = _schema_of(plain, marks)
    made = info.default_factory is not msgspec.NODEFAULT
    # msgspec itself makes a factory of the type of an empty dictionary or list; other factories are of `written`.
    written = made and not isinstance(info.default_factory, type)
    default: Any = info.default_factory() if made else info.default
    merge_key, merges, retains = "", False, False
    for mark in marks:
        match mark:
            case meta.ListMap(merge_key=key, retain_keys=retain):
                merge_key, merges, retains = key, bool(key), retain
            case meta.ListSet(merge=merge):
                merges = merge
            case meta.Merge(key=key, retain_keys=retain):
                merge_key, merges, retains = key, True, retain
            case meta.RetainKeys():
                retains = True
            case _:
                pass
    if schema.shape is Shape.STRUCT:
        # The metadata of a template is no pointer in Go, whatever it is here.
        always = not optional or plain is meta.ObjectMeta
    else:
        # A default other than Go's zero value is set by the server: in Go such a field is left out when unset.
        always = (written or default is msgspec.NODEFAULT) and not default and not optional
    return Field(
        info.encode_name,
        schema,
        always=always,
        default=_key_default(schema, default, optional),
        merges=merges,
        retains=retains,
        patch_merge_key=merge_key,
    )


def _key_default(schema: Schema, default: Any, optional: bool) -> Any:
    if schema.shape is not Shape.SCALAR or optional:
        return MISSING
    if default is msgspec.NODEFAULT:
        return {Scalar.STRING: "", Scalar.NUMERIC: 0, Scalar.BOOLEAN: False}.get(schema.scalar, MISSING)
    return default


def _taken_apart(annotation: Any) -> tuple[tuple[Any, ...], Any, bool]:
    """The marks of an annotation, the type without them and without None, and whether None was there."""
    marks: tuple[Any, ...] = ()
    optional = False
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation, *more = get_args(annotation)
            marks = (*more, *marks)
        elif origin in (types.UnionType, Union):
            members = [member for member in get_args(annotation) if member is not type(None)]
            optional = optional or len(members) < len(get_args(annotation))
            if len(members) != 1:
                # Of scalars one kind or another; of more than that, as a schema or a yes, whatever it is as a whole.
                return marks, Union if _SCALARS.keys() >= set(members) else msgspec.Raw, optional
            annotation = members[0]
        else:
            return marks, annotation, optional


def _schema_of(plain: Any, marks: tuple[Any, ...]) -> Schema:
    if any(isinstance(mark, meta.QuantityText) for mark in marks):
        return _NATIVE_UNTYPED
    scalar = _SCALARS.get(plain)
    if scalar is not None:
        return scalar
    if plain is Union:
        return _NATIVE_UNTYPED
    atomic = any(isinstance(mark, meta.Atomic) for mark in marks)
    origin = get_origin(plain)
    if origin in (tuple, list):
        return _list_of(get_args(plain)[0], marks)
    if origin is not None and issubclass(origin, Mapping):
        inner_marks, inner, _ = _taken_apart(get_args(plain)[1])
        return Schema(Shape.MAP, element=_schema_of(inner, inner_marks), atomic=atomic, native=True)
    if isinstance(plain, type) and issubclass(plain, msgspec.Struct):
        return _atomic_of_type(plain) if atomic else schema_of(plain)
    return _RAW


def _list_of(element: Any, marks: tuple[Any, ...]) -> Schema:
    inner_marks, inner, _ = _taken_apart(element)
    if getattr(inner, "__name__", "") in _ATOMIC_ELEMENTS:
        inner_marks = (*inner_marks, meta.Atomic())
    below = _schema_of(inner, inner_marks)
    for mark in marks:
        if isinstance(mark, meta.ListMap):
            return Schema(Shape.LIST, element=below, list_type=ListType.MAP, keys=mark.keys, native=True)
        if isinstance(mark, meta.ListSet):
            return Schema(Shape.LIST, element=below, list_type=ListType.SET, native=True)
    return Schema(Shape.LIST, element=below, native=True)


def of_custom_resource(open_api: Mapping[str, Any] | None) -> Schema:
    """The schema of a custom resource's version, from its `openAPIV3Schema`."""
    document = open_api or {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return _from_open_api(document, embeds_object=True)


def _from_open_api(node: Mapping[str, Any], *, embeds_object: bool = False) -> Schema:
    if node.get("x-kubernetes-int-or-string"):
        return UNTYPED
    embeds_object = embeds_object or bool(node.get("x-kubernetes-embedded-resource"))
    kind = node.get("type")
    preserves = bool(node.get("x-kubernetes-preserve-unknown-fields"))
    match kind:
        case "string":
            return Schema(Shape.SCALAR, scalar=Scalar.STRING)
        case "integer" | "number":
            return Schema(Shape.SCALAR, scalar=Scalar.NUMERIC)
        case "boolean":
            return Schema(Shape.SCALAR, scalar=Scalar.BOOLEAN)
        case "array":
            return _array(node)
        case "object" | None:
            if kind is None and not embeds_object and not node.get("properties"):
                return ANY
            return _object(node, preserves=preserves, embeds_object=embeds_object)
        case _:
            return ANY


def _array(node: Mapping[str, Any]) -> Schema:
    items = node.get("items")
    return Schema(
        Shape.LIST,
        element=_from_open_api(items) if isinstance(items, Mapping) else ANY,
        list_type=ListType(node.get("x-kubernetes-list-type") or "atomic"),
        keys=node.get("x-kubernetes-list-map-keys") or (),
    )


def _object(node: Mapping[str, Any], *, preserves: bool, embeds_object: bool) -> Schema:
    atomic = node.get("x-kubernetes-map-type") == "atomic"
    additional = node.get("additionalProperties")
    if isinstance(additional, Mapping):
        return Schema(Shape.MAP, element=_from_open_api(additional), atomic=atomic)
    properties: Mapping[str, Any] = node.get("properties") or {}
    if not properties and not embeds_object:
        return ANY if not atomic else Schema(Shape.MAP, element=ANY, atomic=True)

    def load() -> dict[str, Field]:
        fields = {
            name: Field(name, _from_open_api(below), default=below.get("default", MISSING))
            for name, below in properties.items()
        }
        if embeds_object:
            fields["apiVersion"] = Field("apiVersion", _STRING)
            fields["kind"] = Field("kind", _STRING)
            fields["metadata"] = Field("metadata", schema_of(meta.ObjectMeta))
        return fields

    return Schema(Shape.STRUCT, load_fields=load, element=ANY if preserves else None, atomic=atomic)
