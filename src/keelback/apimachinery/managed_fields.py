"""metadata.managedFields: who owns which fields, and how that changes when an object is written.

`track_object` runs on every write of every object, so it builds FieldsV1 directly and touches only what changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from keelback.apimachinery import field_set, object_comparison
from keelback.apimachinery.comparison import Comparison, compare, without_system_fields
from keelback.apimachinery.field_set import LEAF, FieldSet
from keelback.apimachinery.meta import ManagedFieldsEntry, Object
from keelback.apimachinery.schema import Schema

APPLY: Final = "Apply"
UPDATE: Final = "Update"
MAX_UPDATE_MANAGERS: Final = 10
"""More managers of updates than this are merged, the oldest first, into `ANCIENT_CHANGES`."""
ANCIENT_CHANGES: Final = "ancient-changes"
BEFORE_FIRST_APPLY: Final = "before-first-apply"
MANAGER_MAX_BYTES: Final = 128

_SYSTEM_METADATA: Final = frozenset(
    {
        "f:name",
        "f:namespace",
        "f:creationTimestamp",
        "f:selfLink",
        "f:uid",
        "f:clusterName",
        "f:generation",
        "f:managedFields",
        "f:resourceVersion",
    }
)
"""What the server itself keeps in metadata: nobody owns it."""


class ManagedFieldsError(ValueError):
    """managedFields that cannot be read; the message is upstream's."""


class ManagerID(NamedTuple):
    """What tells managers apart. Of an applier the version is no part: it is the same one whatever it applies."""

    manager: str
    operation: str
    api_version: str
    subresource: str


class Managed(msgspec.Struct, frozen=True):
    """One manager's share of an object. `time` is RFC 3339 in whole seconds, or "" where no time was recorded."""

    manager: str
    operation: str
    api_version: str
    fields: FieldSet
    time: str = ""
    subresource: str = ""

    @property
    def id(self) -> ManagerID:
        version = "" if self.operation == APPLY else self.api_version
        return ManagerID(self.manager, self.operation, version, self.subresource)

    @property
    def applied(self) -> bool:
        return self.operation == APPLY


Managers = dict[ManagerID, Managed]
"""All managers of an object."""


def manager_from_user_agent(user_agent: str) -> str:
    """The manager's name where a client gave none: its User-Agent up to the first slash, at most 128 bytes."""
    name = user_agent.partition("/")[0]
    printable = "".join(character for character in name if character.isprintable())
    return printable.encode()[:MANAGER_MAX_BYTES].decode(errors="ignore") or "unknown"


def timestamp(now: datetime) -> str:
    """An instant as managedFields keeps it."""
    return _timestamp(now.replace(microsecond=0) if now.microsecond else now)


# All writes of a second have the same.
@lru_cache(maxsize=256)
def _timestamp(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_instant = lru_cache(maxsize=256)(datetime.fromisoformat)


def read(entries: Iterable[Mapping[str, Any]] | None) -> Managers:
    """The managers in an object's tree.

    Raises:
        ManagedFieldsError: An entry has an unknown operation or fields that are no FieldsV1.
    """
    managers: Managers = {}
    for entry in entries or ():
        one = _read_entry(entry)
        managers[one.id] = one
    return managers


def write(managers: Managers) -> list[dict[str, Any]]:
    """Managers as they stand in an object's tree, in upstream's order: operation, time, name."""
    return [_written(one) for one in in_order(managers)]


def from_meta(entries: Iterable[ManagedFieldsEntry]) -> Managers:
    """The managers in a typed object's metadata."""
    return read(_entries(entries))


def to_meta(managers: Managers) -> tuple[ManagedFieldsEntry, ...]:
    """Managers as a typed object's metadata holds them."""
    return tuple(_entry(one) for one in in_order(managers))


def _entry(one: Managed) -> ManagedFieldsEntry:
    return ManagedFieldsEntry(
        manager=one.manager,
        operation=one.operation,
        api_version=one.api_version,
        time=_instant(one.time) if one.time else None,
        fields_type="FieldsV1",
        fields_v1=msgspec.Raw(field_set.encode(one.fields)),
        subresource=one.subresource,
    )


def in_order(managers: Managers) -> list[Managed]:
    """Managers sorted as upstream writes them."""
    return sorted(
        managers.values(), key=lambda one: (one.operation, one.time, one.manager, one.api_version, one.subresource)
    )


def live_or_sent(live: Any, sent: Any, *, is_subresource: bool = False) -> Managers:
    """The managers an update starts from: those a client sent, if they can be read, else the live object's.

    A client clears them all by sending one empty entry. Arguments are the two `managedFields`.
    """
    if not is_subresource and isinstance(sent, Sequence) and sent:
        if len(sent) == 1 and isinstance(sent[0], Mapping) and not any(sent[0].values()):
            return {}
        try:
            return read(sent)
        except ManagedFieldsError:
            pass
    try:
        return read(live)
    except ManagedFieldsError:
        return {}


def track_object(
    live: Object | None,
    new: Object,
    *,
    manager: str,
    schema: Schema,
    now: datetime,
    subresource: str = "",
    reset_fields: FieldSet = LEAF,
) -> tuple[ManagedFieldsEntry, ...]:
    """The managedFields of an object that is created (`live` is None) or updated otherwise than by apply.

    The writer gets what it added and changed; everybody loses what is gone or was changed by the writer. If an object's
    managedFields were cleared it stays without until the next apply. `reset_fields` are not written by this endpoint.
    As upstream, call it on the decoded and defaulted object, before admission: what plugins add is nobody's.
    """
    before = () if live is None else live.metadata.managed_fields
    sent = new.metadata.managed_fields
    if live is not None and not before and not sent:
        return ()
    comparison = _owned(object_comparison.compare_objects(live, new, schema), reset_fields)
    if sent == before or not sent or subresource:
        if not comparison:
            return before
        held = _held(before)
        managers = {one.id: one for one, _ in held}
    else:
        held = []
        managers = live_or_sent(list(_entries(before)), list(_entries(sent)))
    if live is not None and not managers:
        return ()
    writer = ManagerID(manager, UPDATE, new.api_version, subresource)
    stayed = {id(one): entry for one, entry in held}
    updated = in_order(update(managers, comparison, writer=writer, now=now))
    return tuple([stayed.get(id(one)) or _entry(one) for one in updated])


def compared(
    live: Mapping[str, Any], new: Mapping[str, Any], schema: Schema, reset_fields: FieldSet = LEAF
) -> Comparison:
    """How an object changed, in what can be owned and this endpoint writes."""
    return _owned(compare(without_system_fields(live), without_system_fields(new), schema), reset_fields)


def _owned(comparison: Comparison, reset_fields: FieldSet) -> Comparison:
    changed, removed = comparison
    if reset_fields:
        changed = field_set.recursive_difference(changed, reset_fields)
        removed = field_set.recursive_difference(removed, reset_fields)
    return Comparison(strip(changed), strip(removed))


def update(managers: Managers, comparison: Comparison, *, writer: ManagerID, now: datetime) -> Managers:
    """The managers after a write that is no apply and changed the object as compared."""
    changed, removed = comparison
    if not changed and not removed:
        return managers
    others = _after_loss(managers, changed, removed)
    if changed:
        previous = others.get(writer)
        fields = field_set.union(changed, previous.fields) if previous else changed
        others[writer] = Managed(writer.manager, UPDATE, writer.api_version, fields, timestamp(now), writer.subresource)
    return _capped(others)


def conflicts(managers: Managers, changed: FieldSet, writer: ManagerID) -> list[tuple[ManagerID, FieldSet]]:
    """What each other manager owns of the changed fields."""
    found = (
        (other, field_set.intersection(managed.fields, changed))
        for other, managed in managers.items()
        if other != writer
    )
    return [(other, fields) for other, fields in found if fields]


def strip(fields: FieldSet) -> FieldSet:
    """A set without what the server itself keeps: kind, version, and its part of the metadata."""
    if "f:apiVersion" not in fields and "f:kind" not in fields and "f:metadata" not in fields:
        return fields
    stripped = {element: node for element, node in fields.items() if element not in ("f:apiVersion", "f:kind")}
    metadata = stripped.pop("f:metadata", None)
    if metadata:
        kept = {
            element: node
            for element, node in metadata.items()
            if element != field_set.SELF and (element not in _SYSTEM_METADATA or node)
        }
        if kept:
            stripped["f:metadata"] = kept
    return stripped


def after_loss(managers: Managers, changed: FieldSet, removed: FieldSet, writer: ManagerID) -> Managers:
    """Other managers without the fields that the writer took over, and all but it without those that are gone."""
    kept = _after_loss({other: one for other, one in managers.items() if other != writer}, changed, removed)
    if writer in managers:
        kept[writer] = managers[writer]
    return kept


def _after_loss(managers: Managers, changed: FieldSet, removed: FieldSet) -> Managers:
    lost = field_set.union(changed, removed)
    kept: Managers = {}
    for other, managed in managers.items():
        fields = field_set.difference(managed.fields, lost)
        if fields:
            kept[other] = managed if fields == managed.fields else replace(managed, fields=fields)
    return kept


def _capped(managers: Managers) -> Managers:
    """At most `MAX_UPDATE_MANAGERS` managers of updates: the oldest of a version are merged into one."""
    updaters = [one for one in managers.values() if not one.applied]
    surplus = len(updaters) - MAX_UPDATE_MANAGERS
    if surplus <= 0:
        return managers
    kept = dict(managers)
    first_of_version: dict[str, Managed] = {}
    for one in sorted(updaters, key=lambda one: (one.time, one.id)):
        if surplus <= 0:
            break
        first = first_of_version.setdefault(one.api_version, one)
        if first is one:
            continue
        bucket = ManagerID(ANCIENT_CHANGES, UPDATE, one.api_version, "")
        if bucket not in kept:
            kept[bucket] = Managed(ANCIENT_CHANGES, UPDATE, one.api_version, kept.pop(first.id).fields, first.time)
        merged = field_set.union(one.fields, kept[bucket].fields)
        kept[bucket] = replace(kept[bucket], fields=merged, time=one.time)
        if one.id != bucket:
            del kept[one.id]
        surplus -= 1
    return kept


def _entries(entries: Iterable[ManagedFieldsEntry]) -> Iterator[dict[str, Any]]:
    for entry in entries:
        yield {
            "manager": entry.manager,
            "operation": entry.operation,
            "apiVersion": entry.api_version,
            "time": timestamp(entry.time) if entry.time else "",
            "fieldsType": entry.fields_type,
            "fieldsV1": entry.fields_v1 or None,
            "subresource": entry.subresource,
        }


def _held(entries: Iterable[ManagedFieldsEntry]) -> list[tuple[Managed, ManagedFieldsEntry]]:
    """The managers the server itself wrote; an object from elsewhere with unreadable ones starts anew."""
    held: list[tuple[Managed, ManagedFieldsEntry]] = []
    for entry in entries:
        if entry.operation not in (APPLY, UPDATE) or entry.fields_type not in ("FieldsV1", "") or not entry.api_version:
            return []
        try:
            fields = _fields(bytes(entry.fields_v1)) if entry.fields_v1 else LEAF
        except msgspec.DecodeError:
            return []
        time = timestamp(entry.time) if entry.time else ""
        one = Managed(entry.manager, entry.operation, entry.api_version, fields or LEAF, time, entry.subresource)
        held.append((one, entry))
    return held


def _read_entry(entry: Mapping[str, Any]) -> Managed:
    operation = entry.get("operation", "")
    if operation not in (APPLY, UPDATE):
        raise ManagedFieldsError(f"operation is `{operation}` but should be `Apply` or `Update`")
    if entry.get("fieldsType") not in ("FieldsV1", None, ""):
        raise ManagedFieldsError(f"unsupported fieldsType: {entry.get('fieldsType')}")
    if not entry.get("apiVersion"):
        raise ManagedFieldsError("apiVersion must be set")
    fields = entry.get("fieldsV1")
    if isinstance(fields, msgspec.Raw | bytes):
        try:
            fields = _fields(bytes(fields))
        except msgspec.DecodeError as error:
            raise ManagedFieldsError(f"error decoding manager fields: {error}") from None
    if fields is not None and not field_set.is_well_formed(fields):
        raise ManagedFieldsError("error decoding manager fields: not a set of fields")
    return Managed(
        manager=str(entry.get("manager", "")),
        operation=operation,
        api_version=str(entry["apiVersion"]),
        fields=fields or LEAF,
        time=str(entry.get("time") or ""),
        subresource=str(entry.get("subresource", "")),
    )


# Of all pods of one template the same.
_fields = lru_cache(maxsize=256)(msgspec.json.decode)


def _written(one: Managed) -> dict[str, Any]:
    entry: dict[str, Any] = {"manager": one.manager, "operation": one.operation, "apiVersion": one.api_version}
    if one.time:
        entry["time"] = one.time
    entry["fieldsType"] = "FieldsV1"
    entry["fieldsV1"] = field_set.in_order(one.fields)
    if one.subresource:
        entry["subresource"] = one.subresource
    return entry
