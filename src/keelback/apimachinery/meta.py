"""meta/v1: what every API object has, and how a type says what it is.

A kind is a frozen `Object`. Its attributes are the snake case of the wire names; `kind` and `apiVersion` belong to the
class, not to the value, so that lists can leave them out and the encoder can write them first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, ClassVar, TypeAlias, TypeVar, dataclass_transform

import msgspec

T = TypeVar("T")

Time: TypeAlias = datetime
"""An instant in UTC; on the wire RFC 3339 with whole seconds."""


@dataclass(frozen=True, slots=True)
class MicroTimeText:
    """Marks a string as a MicroTime."""


MicroTime: TypeAlias = Annotated[str, MicroTimeText()]
"""An instant as text with exactly six decimals, as Go's RFC3339Micro demands."""

IntOrString: TypeAlias = int | str


@dataclass(frozen=True, slots=True)
class QuantityText:
    """Marks a string as a resource.Quantity: numbers are accepted for it and it is kept in canonical form."""


Quantity: TypeAlias = Annotated[str, QuantityText()]


@dataclass(frozen=True, slots=True)
class ListMap:
    """A list merged by the values of `keys` (`x-kubernetes-list-type: map`).

    `merge_key` is the strategic merge patch's key where that patch type merges the list too.
    """

    keys: tuple[str, ...]
    merge_key: str = ""
    retain_keys: bool = False

    def __init__(self, *keys: str, merge_key: str = "", retain_keys: bool = False) -> None:
        object.__setattr__(self, "keys", keys)
        object.__setattr__(self, "merge_key", merge_key)
        object.__setattr__(self, "retain_keys", retain_keys)


@dataclass(frozen=True, slots=True)
class ListSet:
    """A list of scalars without duplicates (`x-kubernetes-list-type: set`); `merge`: strategic merge adds to it."""

    merge: bool = False


@dataclass(frozen=True, slots=True)
class Merge:
    """A list that only strategic merge patch merges (by `key`, or as a set of scalars when there is none)."""

    key: str = ""
    retain_keys: bool = False


@dataclass(frozen=True, slots=True)
class Atomic:
    """A map, struct or list that is owned and replaced as a whole by server-side apply."""


@dataclass(frozen=True, slots=True)
class RetainKeys:
    """A struct of which a strategic merge patch names the keys that stay (`patchStrategy: retainKeys`)."""


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Value(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    """A frozen API value. Unknown fields are dropped when it is decoded, zero values when it is encoded.

    What is frozen can stand in no circle: the garbage collector need not know of it, nor walk through thousands.
    """


@dataclass(frozen=True, slots=True)
class _Constant:
    value: Any

    def __call__(self) -> Any:
        return self.value


@dataclass(frozen=True, slots=True)
class InsteadOfZero(_Constant):
    """Marks a field whose Go zero value stands for the default: a client that sends "" or 0 has sent nothing."""


def defaulted(default: T) -> T:
    """Like `written`, for a field that is no pointer upstream, so that its zero value cannot be told from none."""
    made: T = msgspec.field(default_factory=InsteadOfZero(default))
    return made


def written(default: T) -> T:
    """A field that is always on the wire, with the API's default (or Go's zero value) when a client left it out."""
    # msgspec omits a field that *is* its default, but cannot know that of a factory's product: that is what writes it.
    made: T = msgspec.field(default_factory=_Constant(default))
    return made


def written_as(name: str, default: T) -> T:
    """Like `written`, for a field whose wire name is not the plain camel case of its attribute."""
    made: T = msgspec.field(default_factory=_Constant(default), name=name)
    return made


def named(name: str, default: T) -> T:
    """A field whose wire name is not the plain camel case of its attribute."""
    made: T = msgspec.field(default=default, name=name)
    return made


@dataclass(frozen=True, slots=True)
class Kind:
    """What the API calls a type: everything that discovery, paths and error messages need to know about it."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    list_kind: str = ""
    head: bytes = field(default=b"", repr=False, compare=False)
    """The bytes every stored object of this kind begins with, up to and including the brace of its metadata."""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """The resource as messages name it: `pods`, `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of the collection, the object or its subresource."""
        prefix = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        parts = "".join(f"/{part}" for part in (name, subresource) if part)
        return f"{prefix}{scope}/{self.plural}{parts}"


def make_kind(
    api_version: str,
    kind_name: str,
    plural: str,
    *,
    namespaced: bool = True,
    singular: str = "",
    short_names: tuple[str, ...] = (),
    categories: tuple[str, ...] = (),
    list_kind: str = "",
) -> Kind:
    """A `Kind` from the words of a manifest: `make_kind("apps/v1", "Deployment", "deployments")`."""
    group, _, version = api_version.rpartition("/")
    head = f'{{"kind":"{kind_name}","apiVersion":"{api_version}","metadata":{{'.encode()
    return Kind(
        group=group,
        version=version,
        kind=kind_name,
        plural=plural,
        singular=singular or kind_name.lower(),
        namespaced=namespaced,
        short_names=short_names,
        categories=categories,
        list_kind=list_kind or f"{kind_name}List",
        head=head,
    )


C = TypeVar("C", bound="type[Any]")


def kind(
    api_version: str,
    plural: str,
    *,
    namespaced: bool = True,
    short_names: tuple[str, ...] = (),
    categories: tuple[str, ...] = (),
) -> Callable[[C], C]:
    """Say which resource a class is. The class keeps it as `__kind__`; nothing is registered anywhere."""

    def attach(cls: C) -> C:
        cls.__kind__ = make_kind(
            api_version, cls.__name__, plural, namespaced=namespaced, short_names=short_names, categories=categories
        )
        return cls

    return attach


def narrow(full: type[Object]) -> Callable[[C], C]:
    """Say that a class holds some of the fields of `full`: who keeps thousands of objects names what it reads."""

    def attach(cls: C) -> C:
        cls.__kind__ = full.__kind__
        return cls

    return attach


class OwnerReference(Value):
    api_version: str = written("")
    kind: str = written("")
    name: str = written("")
    uid: str = written("")
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ManagedFieldsEntry(Value):
    manager: str = ""
    operation: str = ""
    api_version: str = ""
    time: Time | None = None
    fields_type: str = ""
    fields_v1: msgspec.Raw = named("fieldsV1", msgspec.Raw())  # no union: msgspec cannot decode one that holds Raw
    subresource: str = ""


class ObjectMeta(Value):
    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    self_link: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None
    deletion_grace_period_seconds: int | None = None
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    owner_references: Annotated[tuple[OwnerReference, ...], ListMap("uid", merge_key="uid")] = ()
    finalizers: Annotated[tuple[str, ...], ListSet(merge=True)] = ()
    managed_fields: Annotated[tuple[ManagedFieldsEntry, ...], Atomic()] = ()


class ListMeta(Value):
    self_link: str = ""
    resource_version: str = ""
    continue_: str = named("continue", "")
    remaining_item_count: int | None = None


class Object(Value):
    """An API object. `kind` and `api_version` are the class's; `keelback.apimachinery.codecs` writes them."""

    __kind__: ClassVar[Kind]

    metadata: ObjectMeta = written(ObjectMeta())

    @property
    def kind(self) -> str:
        return self.__kind__.kind

    @property
    def api_version(self) -> str:
        return self.__kind__.api_version


class PartialObjectMetadata(Object):
    """Any object's metadata alone."""

    __kind__ = make_kind("meta.k8s.io/v1", "PartialObjectMetadata", "partialobjectmetadatas")


class LabelSelectorRequirement(Value):
    key: str = written("")
    operator: str = written("")
    values: Annotated[tuple[str, ...], Atomic()] = ()


class LabelSelector(Value):
    match_labels: Mapping[str, str] = {}
    match_expressions: Annotated[tuple[LabelSelectorRequirement, ...], Atomic()] = ()


class FieldSelectorRequirement(Value):
    key: str = written("")
    operator: str = written("")
    values: Annotated[tuple[str, ...], Atomic()] = ()


class Condition(Value):
    type: str = written("")
    status: str = written("")
    observed_generation: int = 0
    last_transition_time: Time | None = written(None)
    reason: str = written("")
    message: str = written("")


class StatusCause(Value):
    reason: str = ""
    message: str = ""
    field: str = ""


class StatusDetails(Value):
    name: str = ""
    group: str = ""
    kind: str = ""
    uid: str = ""
    causes: tuple[StatusCause, ...] = ()
    retry_after_seconds: int = 0


class Status(Value):
    """The answer to a request that returns no object, above all to one that failed."""

    __kind__: ClassVar[Kind] = make_kind("v1", "Status", "status", namespaced=False)

    metadata: ListMeta = written(ListMeta())
    status: str = ""
    message: str = ""
    reason: str = ""
    details: StatusDetails | None = None
    code: int = 0


class Preconditions(Value):
    uid: str | None = None
    resource_version: str | None = None


class DeleteOptions(Value):
    __kind__: ClassVar[Kind] = make_kind("v1", "DeleteOptions", "deleteoptions", namespaced=False)

    grace_period_seconds: int | None = None
    preconditions: Preconditions | None = None
    orphan_dependents: bool | None = None
    propagation_policy: str | None = None
    dry_run: tuple[str, ...] = ()
    ignore_store_read_error_with_cluster_breaking_potential: bool | None = None


class GroupVersionKind(Value):
    group: str = written("")
    version: str = written("")
    kind: str = written("")


class GroupVersionResource(Value):
    group: str = written("")
    version: str = written("")
    resource: str = written("")


V = TypeVar("V", bound=msgspec.Struct)
ObjectT = TypeVar("ObjectT", bound=Object)


def replace(value: V, **changes: Any) -> V:
    """A copy of a frozen value with some fields changed."""
    return msgspec.structs.replace(value, **changes)


def with_metadata(obj: ObjectT, **changes: Any) -> ObjectT:
    """A copy of an object with some fields of its metadata changed."""
    return msgspec.structs.replace(obj, metadata=msgspec.structs.replace(obj.metadata, **changes))
