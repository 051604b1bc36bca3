"""CustomResourceDefinitions: the names that follow from others; what a schema may say is checked by whom serves it."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.api.apiextensions_v1 import (
    CustomResourceConversion,
    CustomResourceDefinition,
    CustomResourceDefinitionCondition,
)
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, duplicate, invalid, not_supported, required
from keelback.apimachinery.meta import replace, with_metadata
from keelback.registry import custom_resource_schemas
from keelback.registry.cells import CREATED_AT
from keelback.registry.custom_resources import open_api_of
from keelback.registry.strategy import Strategy

CLEANUP_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"


class CustomResourceDefinitionStrategy(Strategy[CustomResourceDefinition]):
    kind = CustomResourceDefinition
    subresources = ("status",)
    columns = (CREATED_AT,)

    def default(
        self, new: CustomResourceDefinition, old: CustomResourceDefinition | None = None
    ) -> CustomResourceDefinition:
        spec = new.spec
        given = spec.names
        filled = replace(
            given,
            singular=given.singular or given.kind.lower(),
            list_kind=given.list_kind or (f"{given.kind}List" if given.kind else ""),
        )
        conversion = spec.conversion or CustomResourceConversion()
        return replace(new, spec=replace(spec, names=filled, conversion=conversion))

    def prepare_for_create(self, new: CustomResourceDefinition) -> CustomResourceDefinition:
        stored = tuple(version.name for version in new.spec.versions if version.storage)
        cleared = self.without_status(new)
        return replace(cleared, status=replace(cleared.status, stored_versions=stored))

    def prepare_for_update(
        self, new: CustomResourceDefinition, old: CustomResourceDefinition
    ) -> CustomResourceDefinition:
        stored = old.status.stored_versions
        more = tuple(one.name for one in new.spec.versions if one.storage and one.name not in stored)
        return replace(new, status=replace(old.status, stored_versions=(*stored, *more)))

    def is_held(self, obj: CustomResourceDefinition) -> bool:
        # The objects go first: the finalizer is there from the deletion on.
        return obj.metadata.deletion_timestamp is None or bool(obj.metadata.finalizers)

    def prepare_for_deletion(self, obj: CustomResourceDefinition) -> CustomResourceDefinition:
        finalizers = dict.fromkeys((*obj.metadata.finalizers, CLEANUP_FINALIZER))
        told = CustomResourceDefinitionCondition(
            type="Terminating",
            status="True",
            last_transition_time=obj.metadata.deletion_timestamp,
            reason="InstanceDeletionPending",
            message="CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
        )
        kept = tuple(one for one in obj.status.conditions or () if one.type != "Terminating")
        marked = replace(obj, status=replace(obj.status, conditions=(*kept, told)))
        # A definition is deleted without grace, and its generation stays.
        return with_metadata(
            marked,
            finalizers=tuple(finalizers),
            generation=obj.metadata.generation - 1,
            deletion_grace_period_seconds=None,
        )

    def validate(self, new: CustomResourceDefinition) -> Iterator[FieldError]:
        yield from self._validate_names_and_versions(new)
        yield from _schemas(new)

    def _validate_names_and_versions(self, new: CustomResourceDefinition) -> Iterator[FieldError]:
        spec = new.spec
        if not spec.group:
            yield required("spec.group")
        else:
            for complaint in names.dns1123_subdomain(spec.group):
                yield invalid("spec.group", spec.group, complaint)
            if "." not in spec.group:
                yield invalid("spec.group", spec.group, "should be a domain with at least one dot")
        if spec.scope not in ("Cluster", "Namespaced"):
            yield not_supported("spec.scope", spec.scope, ("Cluster", "Namespaced"))
        expected = f"{spec.names.plural}.{spec.group}"
        if new.metadata.name != expected:
            yield invalid("metadata.name", new.metadata.name, 'must be spec.names.plural+"."+spec.group')
        yield from _names(new)
        yield from _versions(new)

    def validate_update(self, new: CustomResourceDefinition, old: CustomResourceDefinition) -> Iterator[FieldError]:
        yield from self._validate_names_and_versions(new)
        if new.spec.versions != old.spec.versions:
            yield from _schemas(new)
        established = any(one.type == "Established" and one.status == "True" for one in old.status.conditions or ())
        if established and new.spec.scope != old.spec.scope:
            yield invalid("spec.scope", new.spec.scope, "field is immutable")
        if established and new.spec.names.kind != old.spec.names.kind:
            yield invalid("spec.names.kind", new.spec.names.kind, "field is immutable")
        if new.spec.group != old.spec.group:
            yield invalid("spec.group", new.spec.group, "field is immutable")
        if new.spec.names.plural != old.spec.names.plural:
            yield invalid("spec.names.plural", new.spec.names.plural, "field is immutable")


def _schemas(new: CustomResourceDefinition) -> Iterator[FieldError]:
    versions = new.spec.versions
    for index, version in enumerate(versions):
        # A schema that all versions have in common is reported where older definitions held it.
        path = "spec.validation" if len(versions) == 1 else f"spec.versions[{index}].schema"
        yield from custom_resource_schemas.problems(open_api_of(version), f"{path}.openAPIV3Schema")


def _names(new: CustomResourceDefinition) -> Iterator[FieldError]:
    given = new.spec.names
    for field, value in (
        ("plural", given.plural),
        ("singular", given.singular),
        ("kind", given.kind.lower()),
        ("listKind", given.list_kind.lower()),
    ):
        path = f"spec.names.{field}"
        if not value:
            yield required(path)
            continue
        for complaint in names.dns1035_label(value):
            yield invalid(path, value, complaint)
    if given.kind and given.kind == given.list_kind:
        yield invalid("spec.names.listKind", given.list_kind, "kind and listKind may not be the same")


def _versions(new: CustomResourceDefinition) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, version in enumerate(new.spec.versions):
        path = f"spec.versions[{index}]"
        for complaint in names.dns1035_label(version.name):
            yield invalid(f"{path}.name", version.name, complaint)
        if version.name in seen:
            yield duplicate(f"{path}.name", version.name)
        seen.add(version.name)
        if version.schema is None or version.schema.open_api_v3_schema is None:
            yield required(f"{path}.schema.openAPIV3Schema", "schemas are required")
    if sum(version.storage for version in new.spec.versions) != 1:
        shown = [version.name for version in new.spec.versions if version.storage]
        yield invalid("spec.versions", shown, "must have exactly one version marked as storage version")
