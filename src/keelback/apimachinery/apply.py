"""Server-side apply: merge a configuration into the live object, find conflicts, remove what is no longer applied.

Pure: the caller brings the live tree and stores the result. Errors are those a client of Kubernetes expects.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from keelback.apimachinery import field_set, managed_fields, typed_errors, typed_value
from keelback.apimachinery.comparison import compare
from keelback.apimachinery.errors import BadRequest, Conflict, StatusError
from keelback.apimachinery.field_set import LEAF, FieldSet
from keelback.apimachinery.list_elements import PathElementError
from keelback.apimachinery.managed_fields import APPLY, BEFORE_FIRST_APPLY, UPDATE, Managed, ManagerID, Managers
from keelback.apimachinery.meta import Kind, StatusCause, StatusDetails
from keelback.apimachinery.schema import Schema

LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_KUBECTL: Final = "kubectl"
_SYSTEM_FIELDS: Final = ("uid", "resourceVersion", "creationTimestamp", "generation", "selfLink")
_ANNOTATIONS_MAX_BYTES: Final = 256 * 1024

Tree = Mapping[str, Any]


def check_type(config: Tree, kind: Kind) -> None:
    """Refuse a configuration that is not of the kind behind the URL. Raises BadRequest."""
    sent_version, sent_kind = str(config.get("apiVersion") or ""), config.get("kind") or ""
    if (sent_version, sent_kind) != (kind.api_version, kind.kind):
        raise BadRequest(f"invalid object type: {_group_version(sent_version)}, Kind={sent_kind}")


def apply(
    live: Tree | None,
    config: Tree,
    *,
    manager: str,
    force: bool,
    schema: Schema,
    now: datetime,
    subresource: str = "",
    reset_fields: FieldSet = LEAF,
) -> dict[str, Any]:
    """The tree of the object after `manager` applied a configuration to it, with its managedFields.

    `live` is None when there is no object yet. An apply that changes nothing gives a tree equal to `live`. The
    configuration is of the live object's type (`check_type`); `reset_fields` are those this endpoint does not write.

    Raises:
        BadRequest: The configuration brings managedFields.
        Conflict: Another manager owns a field that would change, and `force` is not given.
        StatusError: The configuration does not fit the schema (500 without a reason, as upstream).
    """
    _check(config, schema)
    api_version = str(config["apiVersion"])
    base: Tree = live if live is not None else {}
    try:
        managers = managed_fields.read((base.get("metadata") or {}).get("managedFields"))
    except managed_fields.ManagedFieldsError as error:
        raise StatusError(f"failed to decode managed fields: {error}") from None
    base = _without_managed_fields(base)
    if not schema.native:
        # A custom resource's schema may have changed since: what has become atomic is owned as a whole.
        managers = {
            owner: replace(one, fields=typed_value.reconciled(one.fields, schema)) for owner, one in managers.items()
        }
    if live is not None and not managers:
        unclaimed = ManagerID(BEFORE_FIRST_APPLY, UPDATE, api_version, "")
        everything = managed_fields.compared({}, base, schema)
        managers = managed_fields.update({}, everything, writer=unclaimed, now=now)
    writer = ManagerID(manager, APPLY, "", subresource)
    try:
        attempt = _Attempt(base, config, schema, managers, writer, api_version, reset_fields)
    except PathElementError as error:
        raise StatusError(f"failed to create typed live object ({_identified(base)}): {error}") from None
    found = [] if force else attempt.conflicts
    if found and manager == _KUBECTL:
        found = _beyond_last_applied(found, base, schema, api_version)
    if found:
        raise _conflict(found)
    merged = _with_system_fields(attempt.merged, base)
    settled = attempt.settled()
    mine = settled.get(writer)
    if mine is not None and (live is None or attempt.is_change):
        settled[writer] = replace(mine, time=managed_fields.timestamp(now))
    if manager == _KUBECTL:
        merged = _with_last_applied(merged, config)
    return _with_managed_fields(merged, managed_fields.write(settled))


class _Attempt:
    """What an apply would make of an object, before anyone asked whether it may."""

    def __init__(
        self,
        live: Tree,
        config: Tree,
        schema: Schema,
        managers: Managers,
        writer: ManagerID,
        api_version: str,
        reset_fields: FieldSet,
    ) -> None:
        owned = typed_value.field_set(config, schema)
        if reset_fields:
            owned = field_set.recursive_difference(owned, reset_fields)
            if live:
                # What is made may bring what it will not own: what a certificate request asks for.
                config = typed_value.without(config, reset_fields, schema) or {}
        last = managers.get(writer)
        mine = Managed(writer.manager, APPLY, api_version, owned, last.time if last else "", writer.subresource)
        self._writer = writer
        self._managers = {**managers, writer: mine}
        merged = typed_value.merge(live, config, schema)
        if last is not None and last.fields:
            merged = _pruned(merged, self._managers, last.fields, schema)
        self.merged: dict[str, Any] = typed_value.without_nulls(merged, schema) if schema.native else merged
        self._changed, self._removed = compare(live, self.merged, schema)
        if reset_fields:
            self._changed = field_set.recursive_difference(self._changed, reset_fields)
            self._removed = field_set.recursive_difference(self._removed, reset_fields)
        self.conflicts = managed_fields.conflicts(self._managers, self._changed, writer)

    @property
    def is_change(self) -> bool:
        """Whether it changes anything that somebody could own."""
        return bool(managed_fields.strip(self._changed)) or bool(managed_fields.strip(self._removed))

    def settled(self) -> Managers:
        """The managers once the apply is done."""
        settled = managed_fields.after_loss(self._managers, self._changed, self._removed, self._writer)
        mine = settled.pop(self._writer)
        owned = managed_fields.strip(mine.fields)
        if owned:
            settled[self._writer] = replace(mine, fields=owned)
        return settled


def _pruned(merged: Any, managers: Managers, last: FieldSet, schema: Schema) -> Any:
    """The merged object without what its applier applied last time and nobody owns now."""
    last_named = typed_value.with_named_members(last, schema)
    pruned = typed_value.without(merged, last_named, schema) or {}
    owned: FieldSet = {}
    for managed in managers.values():
        owned = field_set.union(owned, managed.fields)
    named_merged = typed_value.with_named_members(typed_value.field_set(merged, schema), schema)
    kept = field_set.union(
        typed_value.with_named_members(typed_value.field_set(pruned, schema), schema),
        typed_value.with_named_members(owned, schema),
    )
    # First give back what others own, then what was only removed because it stood below something that was.
    pruned = typed_value.without(merged, field_set.difference(named_merged, kept), schema) or {}
    named_pruned = typed_value.with_named_members(typed_value.field_set(pruned, schema), schema)
    gone = field_set.intersection(field_set.difference(named_merged, named_pruned), last_named)
    return typed_value.without(merged, gone, schema) or {}


def _check(config: Tree, schema: Schema) -> None:
    metadata = config.get("metadata")
    if isinstance(metadata, Mapping) and metadata.get("managedFields") is not None:
        raise BadRequest("metadata.managedFields must be nil")
    found = list(typed_errors.errors(config, schema))
    if found:
        message = found[0] if len(found) == 1 else "errors:\n" + "\n".join(f"  {one}" for one in found)
        raise StatusError(f"failed to create typed patch object ({_identified(config)}): {message}")


def _identified(tree: Tree) -> str:
    """An object as upstream names it in these errors: `namespace/name; group/version, Kind=kind`."""
    metadata = tree.get("metadata")
    named: Tree = metadata if isinstance(metadata, Mapping) else {}
    kind = f"{_group_version(str(tree.get('apiVersion') or ''))}, Kind={tree.get('kind') or ''}"
    place = "/".join(one if isinstance(one := named.get(part), str) else "" for part in ("namespace", "name"))
    return f"{place}; {kind}"


def _group_version(api_version: str) -> str:
    """A group and version as Go prints them: `/v1`, `apps/v1`."""
    return api_version if "/" in api_version else f"/{api_version}"


def _conflict(found: list[tuple[ManagerID, FieldSet]]) -> Conflict:
    """The answer that names every field and whom it belongs to, grouped by manager."""
    named = [
        (_described(owner), [field_set.printed(path) for path in field_set.members(fields)])
        for owner, fields in sorted(found, key=lambda conflict: conflict[0])
    ]
    causes = tuple(
        StatusCause(reason="FieldManagerConflict", message=f"conflict with {owner}", field=path)
        for owner, paths in named
        for path in paths
    )
    if len(causes) == 1:
        message = f"Apply failed with 1 conflict: {causes[0].message}: {causes[0].field}"
    else:
        groups = "\n".join("\n- ".join([f"conflicts with {owner}:", *paths]) for owner, paths in named)
        message = f"Apply failed with {len(causes)} conflicts: {groups}"
    return Conflict(message, details=StatusDetails(causes=causes))


def _described(owner: ManagerID) -> str:
    text = f'"{owner.manager}"'
    if owner.subresource:
        text += f' with subresource "{owner.subresource}"'
    return f"{text} using {owner.api_version}" if owner.operation == UPDATE else text


def _beyond_last_applied(
    found: list[tuple[ManagerID, FieldSet]], live: Tree, schema: Schema, api_version: str
) -> list[tuple[ManagerID, FieldSet]]:
    """Conflicts less those with kubectl's own client-side apply, which left the annotation behind."""
    annotation = ((live.get("metadata") or {}).get("annotations") or {}).get(LAST_APPLIED)
    if not annotation:
        return found
    try:
        last = msgspec.json.decode(annotation)
    except msgspec.DecodeError:
        return found
    if not isinstance(last, dict) or last.get("apiVersion") != api_version or any(typed_errors.errors(last, schema)):
        return found
    owned = typed_value.field_set(last, schema)
    # What differs from the live object was changed by somebody else since.
    changed, removed = compare(last, live, schema)
    owned = field_set.difference(field_set.difference(owned, changed), removed)
    remaining = [(other, field_set.difference(fields, owned)) for other, fields in found]
    return [(other, fields) for other, fields in remaining if fields]


def _with_last_applied(merged: dict[str, Any], config: Tree) -> dict[str, Any]:
    """Keep client-side apply's annotation in step, where the object has one and kubectl applies."""
    metadata = merged.get("metadata") or {}
    annotations = metadata.get("annotations") or {}
    if LAST_APPLIED not in annotations:
        return merged
    own = {**(config.get("metadata") or {})}
    own_annotations = {key: value for key, value in (own.get("annotations") or {}).items() if key != LAST_APPLIED}
    own.pop("managedFields", None)
    own["annotations"] = own_annotations
    if not own_annotations:
        del own["annotations"]
    text = msgspec.json.encode({**config, "metadata": own}, order="sorted").decode() + "\n"
    updated = {**annotations, LAST_APPLIED: text}
    if sum(len(key.encode()) + len(value.encode()) for key, value in updated.items()) > _ANNOTATIONS_MAX_BYTES:
        del updated[LAST_APPLIED]
    return {**merged, "metadata": {**metadata, "annotations": updated}}


def _with_system_fields(merged: dict[str, Any], live: Tree) -> dict[str, Any]:
    """Keep what the server itself put into metadata, although a manifest may say `creationTimestamp: null`."""
    before = live.get("metadata") or {}
    metadata = merged.get("metadata") or {}
    lost = {name: before[name] for name in _SYSTEM_FIELDS if name in before and metadata.get(name) is None}
    return {**merged, "metadata": {**metadata, **lost}} if lost else merged


def _without_managed_fields(tree: Tree) -> dict[str, Any]:
    metadata = tree.get("metadata")
    if not isinstance(metadata, Mapping) or "managedFields" not in metadata:
        return dict(tree)
    return {**tree, "metadata": {name: value for name, value in metadata.items() if name != "managedFields"}}


def _with_managed_fields(tree: dict[str, Any], entries: list[dict[str, Any]]) -> dict[str, Any]:
    metadata = {**(tree.get("metadata") or {})}
    metadata.pop("managedFields", None)
    if entries:
        metadata["managedFields"] = entries
    return {**tree, "metadata": metadata}
