"""CustomResourceDefinitions: names that follow from others, versions that were stored, and all that may be wrong.

Upstream validates a form of the object in which schema, subresources, columns and selectable fields stand once, in
the spec, when all versions have them in common: so they are reported there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from keelback.api.apiextensions_v1 import (
    CustomResourceConversion,
    CustomResourceDefinition,
    CustomResourceDefinitionCondition,
    CustomResourceDefinitionSpec,
    CustomResourceDefinitionVersion,
)
from keelback.apimachinery import field_set, names, structural_schema
from keelback.apimachinery.errors import FieldError, invalid, required
from keelback.apimachinery.go_text import go_quoted
from keelback.apimachinery.meta import replace, with_metadata
from keelback.apimachinery.structural_schema_formats import is_enforced
from keelback.apimachinery.validation import immutable_field
from keelback.registry import custom_resource_definition_parts as parts
from keelback.registry import custom_resource_internal_form, custom_resource_rules, custom_resource_schemas
from keelback.registry.cells import CREATED_AT
from keelback.registry.custom_resources import open_api_of
from keelback.registry.strategy import Strategy

CLEANUP_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"


class CustomResourceDefinitionStrategy(Strategy[CustomResourceDefinition]):
    kind = CustomResourceDefinition
    needs_resource_version_to_update = True
    bare_finalizers = True
    storage_path = "apiextensions.k8s.io/customresourcedefinitions"
    subresources = ("status",)
    not_owned_by_status = field_set.of(("spec",), ("metadata",))
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

    def warnings(self, new: CustomResourceDefinition, old: CustomResourceDefinition | None) -> Iterator[str]:
        """Formats that nobody enforces."""
        if old is not None and old.spec.versions == new.spec.versions:
            return
        known = frozenset[str]() if old is None else _formats(old)
        yield from (f"unrecognized format {go_quoted(one)}" for one in sorted(_formats(new) - known))

    def validate(self, new: CustomResourceDefinition) -> Iterator[FieldError]:
        yield from _name(new)
        yield from _Spec(new, takes_any_bundle=True).problems()
        yield from parts.names_problems(new.status.accepted_names, "status.acceptedNames")
        yield from _stored_versions(new)
        yield from parts.approval_problems(new, None)
        if new.spec.preserve_unknown_fields:
            yield invalid("spec.preserveUnknownFields", True, _PRESERVING)

    def validate_update(self, new: CustomResourceDefinition, old: CustomResourceDefinition) -> Iterator[FieldError]:
        is_established = _is_established(old)
        takes_any_bundle = not is_established or _has_bad_bundle(old)
        yield from _Spec(new, old, takes_any_bundle=takes_any_bundle).problems()
        if is_established:
            # These decide on the storage.
            yield from immutable_field(new.spec.scope, old.spec.scope, "spec.scope")
            yield from immutable_field(new.spec.names.kind, old.spec.names.kind, "spec.names.kind")
        yield from immutable_field(new.spec.group, old.spec.group, "spec.group")
        yield from immutable_field(new.spec.names.plural, old.spec.names.plural, "spec.names.plural")
        yield from parts.names_problems(new.status.accepted_names, "status.acceptedNames")
        yield from _stored_versions(new)
        yield from parts.approval_problems(new, old)
        if new.spec.preserve_unknown_fields and not old.spec.preserve_unknown_fields:
            yield invalid("spec.preserveUnknownFields", True, _PRESERVING)

    def validate_status_update(
        self, new: CustomResourceDefinition, old: CustomResourceDefinition
    ) -> Iterator[FieldError]:
        yield from parts.names_problems(new.status.accepted_names, "status.acceptedNames")


_PRESERVING = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"


def _formats(definition: CustomResourceDefinition) -> frozenset[str]:
    """The formats in all schemas that are neither enforced nor those of integers."""
    found: set[str] = set()

    def look(schema: Any) -> None:
        if isinstance(schema, Mapping):
            form = schema.get("format")
            if isinstance(form, str) and form not in ("", "int32", "int64") and not is_enforced(form):
                found.add(form)
            for name in ("items", "additionalProperties", "not"):
                look(schema.get(name))
            for below in (schema.get("properties") or {}).values():
                look(below)
            for name in ("allOf", "anyOf", "oneOf"):
                for below in schema.get(name) or ():
                    look(below)

    for one in definition.spec.versions:
        look(open_api_of(one))
    return frozenset(found)


def _is_established(definition: CustomResourceDefinition) -> bool:
    return any(one.type == "Established" and one.status == "True" for one in definition.status.conditions or ())


def _has_bad_bundle(definition: CustomResourceDefinition) -> bool:
    webhook = definition.spec.conversion.webhook if definition.spec.conversion else None
    bundle = webhook.client_config.ca_bundle if webhook and webhook.client_config else b""
    return bool(bundle) and bool(parts.bundle_problem(bundle))


def _name(new: CustomResourceDefinition) -> Iterator[FieldError]:
    if new.metadata.name != f"{new.spec.names.plural}.{new.spec.group}":
        yield invalid("metadata.name", new.metadata.name, 'must be spec.names.plural+"."+spec.group')


def _stored_versions(new: CustomResourceDefinition) -> Iterator[FieldError]:
    path, stored = "status.storedVersions", new.status.stored_versions
    if not stored:
        yield invalid(path, list(stored), "must have at least one stored version")
        return
    for one in new.spec.versions:
        if one.storage and one.name not in stored:
            yield invalid(path, list(stored), f"must have the storage version {one.name}")
    there = {one.name for one in new.spec.versions}
    for at, name in enumerate(stored):
        if name not in there:
            told = (
                f"missing from spec.versions; {name} was previously a storage version, and must remain in "
                f"spec.versions until a storage migration ensures no data remains persisted in {name} and removes "
                f"{name} from status.storedVersions"
            )
            yield invalid(f"{path}[{at}]", name, told)


@dataclass(frozen=True)
class _Spec:
    """The spec of one definition, seen as upstream's validation sees it."""

    new: CustomResourceDefinition
    old: CustomResourceDefinition | None = None
    takes_any_bundle: bool = False

    @property
    def spec(self) -> CustomResourceDefinitionSpec:
        return self.new.spec

    @cached_property
    def common(self) -> frozenset[str]:
        """Which fields all versions have in common."""
        versions = self.spec.versions
        first = versions[0] if versions else CustomResourceDefinitionVersion()
        fields = ("schema", "subresources", "additional_printer_columns", "selectable_fields")
        return frozenset(
            field for field in fields if all(getattr(one, field) == getattr(first, field) for one in versions)
        )

    def problems(self) -> Iterator[FieldError]:
        spec = self.spec
        yield from self._group()
        yield from parts.one_of(spec.scope, "spec.scope", ("Cluster", "Namespaced"))
        for at, one in enumerate(spec.versions):
            if one.schema is None or one.schema.open_api_v3_schema is None:
                yield required(f"spec.versions[{at}].schema.openAPIV3Schema", "schemas are required")
        if spec.preserve_unknown_fields and any(structural_schema.has_defaults(one) for one in self._trees.values()):
            yield invalid("spec.preserveUnknownFields", True, "must be false in order to use defaults in the schema")
        yield from self._versions()
        yield from parts.missing_names(spec.names, "spec.names")
        yield from parts.names_problems(spec.names, "spec.names")
        yield from self._shared_parts()
        if spec.preserve_unknown_fields and spec.conversion and spec.conversion.strategy != "None":
            told = "must be None if spec.preserveUnknownFields is true"
            yield invalid("spec.conversion.strategy", spec.conversion.strategy, told)
        yield from parts.conversion(
            spec.conversion,
            "spec.conversion",
            takes_any_bundle=self.takes_any_bundle,
            takes_any_review=self.old is not None and not parts.knows_review(self.old.spec.conversion),
        )

    def _group(self) -> Iterator[FieldError]:
        group = self.spec.group
        if not group:
            yield required("spec.group")
        elif complaints := names.dns1123_subdomain(group):
            yield invalid("spec.group", group, ",".join(complaints))
        elif "." not in group:
            yield invalid("spec.group", group, "should be a domain with at least one dot")

    def _versions(self) -> Iterator[FieldError]:
        versions = self.spec.versions
        for at, one in enumerate(versions):
            path = f"spec.versions[{at}]"
            if complaints := names.dns1035_label(one.name):
                yield invalid(f"{path}.name", one.name, ",".join(complaints))
            yield from parts.deprecation(one, f"{path}.deprecationWarning")
            if "schema" not in self.common:
                yield from self._schema(one, f"{path}.schema", has_status=_has_status(one))
            if "subresources" not in self.common:
                yield from parts.subresources(one.subresources, f"{path}.subresources")
            if "additional_printer_columns" not in self.common:
                yield from parts.columns(one.additional_printer_columns, f"{path}.additionalPrinterColumns")
            if "selectable_fields" not in self.common and one.selectable_fields:
                place = f"{path}.selectableFields"
                # The schema that all versions share is not where upstream looks for that of one.
                if "schema" in self.common or one.name not in self._trees:
                    told = "may only be set when `version.schema.openAPIV3Schema` is not included"
                    yield invalid(place, "", told)
                else:
                    yield from parts.selectable_fields(one.selectable_fields, self._trees[one.name], place)
        if len({one.name for one in versions}) != len(versions):
            yield invalid("spec.versions", self._shown, "must contain unique version names")
        if sum(one.storage for one in versions) != 1:
            yield invalid("spec.versions", self._shown, "must have exactly one version marked as storage version")

    def _shared_parts(self) -> Iterator[FieldError]:
        """What stands in the spec where it is the same in all versions."""
        if not self.spec.versions:
            return
        first = self.spec.versions[0]
        if "schema" in self.common:
            has_status = any(_has_status(one) for one in self.spec.versions)
            yield from self._schema(first, "spec.validation", has_status=has_status)
        if "subresources" in self.common:
            yield from parts.subresources(first.subresources, "spec.subresources")
        if "additional_printer_columns" in self.common:
            yield from parts.columns(first.additional_printer_columns, "spec.additionalPrinterColumns")
        if "selectable_fields" in self.common and first.selectable_fields:
            if "schema" not in self.common or first.schema is None:
                yield invalid("spec.selectableFields", "", "may only be set when validations.schema is included")
            else:
                tree = self._trees.get(first.name, {})
                yield from parts.selectable_fields(first.selectable_fields, tree, "spec.selectableFields")

    def _schema(self, version: CustomResourceDefinitionVersion, path: str, *, has_status: bool) -> Iterator[FieldError]:
        tree = self._trees.get(version.name)
        if tree is None or self._was_valid(version):
            return
        rules = custom_resource_rules.RuleCheck()
        place = f"{path}.openAPIV3Schema"
        yield from custom_resource_schemas.problems(tree, place, has_status=has_status, rules=rules)

    def _was_valid(self, version: CustomResourceDefinitionVersion) -> bool:
        """What stays as it was is not judged again, be it by newer rules."""
        if self.old is None:
            return False
        before = next((one for one in self.old.spec.versions if one.name == version.name), None)
        return before is not None and before.schema == version.schema and _has_status(before) == _has_status(version)

    @cached_property
    def _trees(self) -> Mapping[str, Mapping[str, Any]]:
        """The schemas as trees, by version."""
        return {
            one.name: open_api_of(one)
            for one in self.spec.versions
            if one.schema is not None and one.schema.open_api_v3_schema is not None
        }

    @property
    def _shown(self) -> list[dict[str, Any]]:
        wire = {"additional_printer_columns": "additionalPrinterColumns", "selectable_fields": "selectableFields"}
        without = [wire.get(field, field) for field in self.common]
        return custom_resource_internal_form.of_versions(self.spec.versions, without=without)


def _has_status(version: CustomResourceDefinitionVersion) -> bool:
    return version.subresources is not None and version.subresources.status is not None
