"""The strategy of a resource: what is special about its kind. The defaults suit a plain kind with spec and status."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, ClassVar, Final, Generic, Protocol, TypeVar

import msgspec

from keelback.apimachinery import codecs, field_set, names
from keelback.apimachinery.errors import FieldError
from keelback.apimachinery.field_set import FieldSet
from keelback.apimachinery.meta import Object, replace, with_metadata
from keelback.apimachinery.schema import Schema, schema_of
from keelback.cel.environment import Patience

T = TypeVar("T", bound=Object)

_SPEC: Final = field_set.of(("spec",))
_SPEC_AND_METADATA: Final = field_set.of(("spec",), ("metadata",))
_STATUS: Final = field_set.of(("status",))


class Requester(Protocol):
    """Who sends a request."""

    @property
    def name(self) -> str: ...
    @property
    def uid(self) -> str: ...
    @property
    def groups(self) -> tuple[str, ...]: ...
    @property
    def extra(self) -> Mapping[str, tuple[str, ...]]: ...


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a Table. `value` gets the object and the present time; `priority` 1 is shown by `-o wide` only."""

    name: str
    value: Callable[[Any, datetime], Any]
    type: str = "string"
    priority: int = 0
    description: str = ""
    format: str = ""


def age(obj: Any, now: datetime) -> str:
    """How long ago an object was created, as kubectl words it."""
    created = obj.metadata.creation_timestamp
    return "<unknown>" if created is None else human_duration((now - created).total_seconds())


_CREATION_TIMESTAMP = (
    "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed "
    "to be set in happens-before order across separate operations. Clients may not set this value. It is represented "
    "in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"
)
AGE = Column("Age", age, description=_CREATION_TIMESTAMP)


def human_duration(seconds: float) -> str:
    """A duration in one or two units: `45s`, `3m20s`, `5h`, `2d3h`, `30d` (apimachinery's duration.HumanDuration)."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    if whole < 60 * 2:
        return f"{whole}s"
    minutes = whole // 60
    if minutes < 10:
        rest = whole % 60
        return f"{minutes}m{rest}s" if rest else f"{minutes}m"
    if minutes < 60 * 3:
        return f"{minutes}m"
    hours = whole // 3600
    if hours < 8:
        rest = minutes % 60
        return f"{hours}h{rest}m" if rest else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if days < 8:
        rest = hours % 24
        return f"{days}d{rest}h" if rest else f"{days}d"
    if days < 365 * 2:
        return f"{days}d"
    years = days // 365
    if years < 8:
        rest = days % 365
        return f"{years}y{rest}d" if rest else f"{years}y"
    return f"{years}y"


class NameOnly(msgspec.Struct, frozen=True):
    """The narrow type of a kind that can be selected by its name and namespace only."""


class Strategy(Generic[T]):
    """Everything that differs from kind to kind. Override what the kind needs."""

    kind: ClassVar[Any]
    """The type, whose `__kind__` names the resource."""

    columns: ClassVar[tuple[Column, ...]] = (AGE,)
    """The columns after Name."""

    sorts_rows: ClassVar[bool] = False
    """Whether tables have an order of their own, that of `row_order`."""

    verbs: ClassVar[tuple[str, ...]] = (
        "create",
        "delete",
        "deletecollection",
        "get",
        "list",
        "patch",
        "update",
        "watch",
    )
    subresources: ClassVar[tuple[str, ...]] = ()
    """`status`, `scale`, `log`, ... as discovery lists them."""

    storage_path: ClassVar[str] = ""
    """The store's folder below /registry/, where it is not the plural."""

    is_created_by_update: ClassVar[bool] = False
    """A PUT of a missing object creates it."""

    needs_resource_version_to_update: ClassVar[bool] = False
    """A PUT without resourceVersion is refused instead of being unconditional."""

    bare_finalizers: ClassVar[bool] = False
    """Finalizers need no group in their name."""

    checks_metadata_twice: ClassVar[bool] = True
    """The kind's own validation of an update looks at the metadata too: what is wrong with it is listed again."""

    checks_metadata_as_new: ClassVar[bool] = False
    """The kind's own validation of an update looks at it as at a new object's: this is listed as well."""

    answers_deleted_object: ClassVar[bool] = False
    """DELETE answers the object, not a Status."""

    orphans_by_default: ClassVar[bool] = False
    """Without a propagation policy, dependents stay."""

    counts_generations: ClassVar[bool] = True
    """`metadata.generation` starts at `first_generation` and rises with every change of the spec."""

    first_generation: ClassVar[int] = 1

    keeps_metadata_in_status: ClassVar[bool] = False
    """A write of the status leaves labels, annotations, finalizers and owners as they were."""

    not_owned_by_status: ClassVar[FieldSet | None] = None
    """What writers of the status do not come to own, where it is not just what such a write leaves as it was."""

    earlier_versions: ClassVar[tuple[str, ...]] = ()
    """Versions in which bodies of this kind are read too, where they are written the same way."""

    takes_strategic_merge_patches: ClassVar[bool] = True
    """Custom resources do not."""

    leads_with_name: ClassVar[bool] = True
    """A Table's first column is the name; otherwise the strategy's columns are all there are."""

    storage_kind: ClassVar[Any] = None
    """The type the store holds, where this kind is another version of it: see `from_storage`."""

    deprecation_warning: ClassVar[str] = ""
    """Said with every answer, whatever the verb."""

    ttl_seconds: ClassVar[float | None] = None
    """How long an object lives after its last write; None is for ever."""

    field_type: ClassVar[type[msgspec.Struct]] = NameOnly
    """The narrow type that `fields` reads."""

    field_names: ClassVar[tuple[str, ...]] = ()
    """The field selectors this kind knows besides metadata.name and metadata.namespace."""

    refuses_other_fields: ClassVar[bool] = False
    """Whether it is refused as unsupported, not as unknown, to select by a field this kind does not know."""

    def fields(self, narrow: Any) -> Mapping[str, str]:
        """The values of `field_names`, from an object decoded as `field_type`."""
        return {}

    def decode(self, data: bytes) -> T:
        """An object from bytes of the store."""
        obj: T = codecs.decode(self.kind, data)
        return obj

    def decode_body(self, data: bytes) -> T:
        """An object from a client's JSON. Raises codecs.DecodeError."""
        obj: T = codecs.decode_body(self.kind, data)
        return obj

    def from_tree(self, tree: Mapping[str, Any]) -> T:
        """An object from a JSON tree. Raises codecs.DecodeError."""
        obj: T = codecs.convert(self.kind, tree)
        return obj

    def strict_errors(self, tree: Any) -> list[str]:
        """Unknown and repeated fields of a JSON tree."""
        return codecs.strict_errors(tree, self.kind)

    def strict_errors_of_body(self, data: bytes) -> list[str]:
        """Unknown and repeated fields of a client's JSON. Raises codecs.DecodeError."""
        return self.strict_errors(codecs.marked_tree(data))

    def schema(self) -> Schema:
        """The merge keys and list types, for strategic merge patch and server-side apply."""
        return schema_of(self.kind)

    def encode(self, obj: T) -> bytes:
        """The bytes the store keeps: without resourceVersion."""
        return codecs.encode_stored(obj)

    def from_storage(self, data: bytes) -> bytes:
        """The stored bytes as this kind: the same, unless the store holds another version of it."""
        return data

    def to_storage(self, data: bytes) -> bytes:
        """This kind's bytes as the store holds them."""
        return data

    def to_tree(self, obj: T) -> dict[str, Any]:
        """The object as a JSON tree with kind and apiVersion."""
        return codecs.to_tree(obj)

    def default(self, new: T, old: T | None = None) -> T:
        """The object with the defaults that depend on other fields; the plain ones stand in the type."""
        return new

    def asked_by(self, new: T, user: Requester) -> T:
        """A new object with what it has to say of who asked for it; by default nothing."""
        return new

    def prepare_for_create(self, new: T) -> T:
        """The object as it is before its first write: clients do not set status."""
        return self.without_status(new)

    def prepare_for_update(self, new: T, old: T) -> T:
        """The object of an ordinary update: its status stays what it was."""
        return self.with_status_of(new, old)

    def prepare_for_status_update(self, new: T, old: T) -> T:
        """The object of an update of its status: everything else stays, but for labels and annotations' kin."""
        if self.keeps_metadata_in_status:
            meta = old.metadata
            new = with_metadata(
                new,
                labels=meta.labels,
                annotations=meta.annotations,
                finalizers=meta.finalizers,
                owner_references=meta.owner_references,
            )
        if hasattr(new, "spec"):
            return replace(new, spec=old.spec)  # type: ignore[attr-defined]
        return new

    def not_written_by(self, subresource: str) -> FieldSet:
        """The fields that an endpoint resets, and that its writers therefore do not come to own."""
        if "status" not in self.subresources:
            return field_set.LEAF
        match subresource:
            case "":
                return _STATUS
            case "status" if self.not_owned_by_status is not None:
                return self.not_owned_by_status
            case "status":
                return _SPEC_AND_METADATA if self.keeps_metadata_in_status else _SPEC
            case _:
                return field_set.LEAF

    def with_times(self, new: T, old: T, now: datetime) -> T:
        """A changed object with the times that the server notes in it; by default none."""
        return new

    def without_status(self, new: T) -> T:
        if "status" not in self.subresources or not hasattr(new, "status"):
            return new
        blank = _blank_status(type(new))
        return new if new.status == blank else replace(new, status=blank)

    def with_status_of(self, new: T, old: T) -> T:
        if "status" not in self.subresources or not hasattr(new, "status"):
            return new
        return replace(new, status=old.status)  # type: ignore[attr-defined]

    def spec_changed(self, new: T, old: T) -> bool:
        """Whether `metadata.generation` rises."""
        if hasattr(new, "spec"):
            return bool(new.spec != old.spec)  # type: ignore[attr-defined]
        return replace(new, metadata=old.metadata) != old

    def validate(self, new: T) -> Iterator[FieldError]:
        """Everything wrong with a new object."""
        return iter(())

    def validate_update(self, new: T, old: T) -> Iterator[FieldError]:
        """Everything wrong with a change; by default what is wrong with the new object."""
        return self.validate(new)

    def validate_status_update(self, new: T, old: T) -> Iterator[FieldError]:
        return iter(())

    def validate_part_update(self, subresource: str, new: T, old: T) -> Iterator[FieldError]:
        """Everything wrong with a change by a subresource other than status: scale, binding, approval, resize, ..."""
        return self.validate_update(new, old)

    def read_by_rules(self, obj: T) -> Any:
        """What expressions that users wrote look at when an object is validated: a JSON tree. None without any."""
        return None

    def patient(self, patience: Patience) -> Strategy[T]:
        """The same strategy, whose validation ends with TakesLongError where its expressions take longer than that."""
        return self

    def row_order(self, obj: T) -> Any:
        """What the rows of a table are sorted by, where they are."""
        return obj.metadata.name

    def validate_name(self, name: str, *, is_prefix: bool) -> Sequence[str]:
        """What is wrong with a name (or the prefix given as generateName)."""
        return names.name_is_dns_subdomain(name, is_prefix=is_prefix)

    def warnings(self, new: T, old: T | None) -> Iterable[str]:
        """Warning headers of a write that succeeded."""
        return ()

    def why_not_delete(self, name: str) -> str:
        """Why an object may never be deleted, whoever asks; "" if it may."""
        return ""

    def is_held(self, obj: T) -> bool:
        """Whether something still has to happen before a deleted object may go."""
        return bool(obj.metadata.finalizers)

    def prepare_for_deletion(self, obj: T) -> T:
        """The object as it is while its deletion waits."""
        return obj

    def graceful_deletion_seconds(self, obj: T, wanted: int | None) -> int:
        """How long the object lives on after a delete; 0 deletes at once."""
        return 0


@lru_cache(maxsize=1024)
def _blank_status(cls: type) -> Any:
    for one in msgspec.structs.fields(cls):
        if one.name == "status":
            return one.default_factory() if one.default_factory is not msgspec.NODEFAULT else one.default
    raise TypeError(f"{cls.__name__} has no status")
