"""Namespaces: held by the finalizers of their spec until everything in them is gone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import msgspec

from keelback.api.core_v1 import Namespace, NamespaceSpec, NamespaceStatus
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, invalid
from keelback.apimachinery.meta import replace, with_metadata
from keelback.apimachinery.validation import finalizer_name
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import text

FINALIZER = "kubernetes"
NAME_LABEL = "kubernetes.io/metadata.name"


class _Status(msgspec.Struct, frozen=True):
    phase: str = ""


class NamespaceFields(msgspec.Struct, frozen=True):
    """What namespaces can be selected by."""

    status: _Status = _Status()


class NamespaceStrategy(Strategy[Namespace]):
    kind = Namespace
    checks_metadata_as_new = True
    columns = (text("Status", lambda one: one.status.phase), AGE)
    subresources = ("finalize", "status")
    answers_deleted_object = True
    counts_generations = False
    verbs = ("create", "delete", "get", "list", "patch", "update", "watch")
    field_type: ClassVar[type[msgspec.Struct]] = NamespaceFields
    field_names = ("status.phase",)

    def fields(self, narrow: Any) -> Mapping[str, str]:
        return {"status.phase": narrow.status.phase}

    def default(self, new: Namespace, old: Namespace | None = None) -> Namespace:
        name = new.metadata.name
        if name and new.metadata.labels.get(NAME_LABEL) != name:
            return with_metadata(new, labels={**new.metadata.labels, NAME_LABEL: name})
        return new

    def prepare_for_create(self, new: Namespace) -> Namespace:
        finalizers = new.spec.finalizers
        if FINALIZER not in finalizers:
            finalizers = (*finalizers, FINALIZER)
        return replace(new, spec=replace(new.spec, finalizers=finalizers), status=NamespaceStatus(phase="Active"))

    def prepare_for_update(self, new: Namespace, old: Namespace) -> Namespace:
        # The finalizers of the spec change through /finalize alone.
        return replace(new, spec=replace(new.spec, finalizers=old.spec.finalizers), status=old.status)

    def prepare_for_status_update(self, new: Namespace, old: Namespace) -> Namespace:
        return replace(new, spec=old.spec)

    def validate(self, new: Namespace) -> Iterator[FieldError]:
        for finalizer in new.spec.finalizers:
            yield from finalizer_name(finalizer, "spec.finalizers")

    def validate_update(self, new: Namespace, old: Namespace) -> Iterator[FieldError]:
        return iter(())

    def validate_status_update(self, new: Namespace, old: Namespace) -> Iterator[FieldError]:
        phase = new.status.phase
        if new.metadata.deletion_timestamp is None:
            if phase != "Active":
                yield invalid("status.Phase", phase, "may only be 'Active' if `deletionTimestamp` is empty")
        elif phase != "Terminating":
            yield invalid("status.Phase", phase, "may only be 'Terminating' if `deletionTimestamp` is not empty")

    def validate_part_update(self, subresource: str, new: Namespace, old: Namespace) -> Iterator[FieldError]:
        for index, finalizer in enumerate(new.spec.finalizers):
            yield from finalizer_name(finalizer, f"spec.finalizers[{index}]")

    def is_held(self, obj: Namespace) -> bool:
        return bool(obj.spec.finalizers or obj.metadata.finalizers)

    def prepare_for_deletion(self, obj: Namespace) -> Namespace:
        # A namespace is deleted without grace, not with one of no seconds.
        marked = replace(obj, status=replace(obj.status, phase="Terminating"))
        return with_metadata(marked, deletion_grace_period_seconds=None)

    def validate_name(self, name: str, *, is_prefix: bool) -> names.Complaints:
        return names.name_is_dns_label(name, is_prefix=is_prefix)


def finalized(namespace: Namespace, finalizers: tuple[str, ...]) -> Namespace:
    """The namespace with the spec finalizers of a /finalize request."""
    return replace(namespace, spec=NamespaceSpec(finalizers=finalizers))
