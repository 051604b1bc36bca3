"""StorageClasses: nothing that volumes were made from ever changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from keelback.api.core_v1 import TopologySelectorTerm
from keelback.api.storage_v1 import StorageClass
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, duplicate, forbidden, invalid, not_supported, required, too_long
from keelback.registry import node_label_warnings
from keelback.registry.strategy import AGE, Column, Strategy
from keelback.registry.workloads import text

_MOST_PARAMETERS = 512
_LONGEST_PARAMETERS = 256 * 1024


class StorageClassStrategy(Strategy[StorageClass]):
    kind = StorageClass
    checks_metadata_as_new = True
    answers_deleted_object = True
    counts_generations = False
    columns = (
        text("Provisioner", lambda one: one.provisioner),
        text("ReclaimPolicy", lambda one: one.reclaim_policy),
        text("VolumeBindingMode", lambda one: one.volume_binding_mode),
        Column("AllowVolumeExpansion", lambda one, _now: bool(one.allow_volume_expansion), type="boolean"),
        AGE,
    )

    def validate(self, new: StorageClass) -> Iterator[FieldError]:
        if not new.provisioner:
            yield required("provisioner")
        else:
            for complaint in names.qualified_name(new.provisioner.lower()):
                yield invalid("provisioner", new.provisioner.lower(), complaint)
        yield from validate_parameters(new.parameters)
        if new.reclaim_policy and new.reclaim_policy not in ("Delete", "Retain"):
            yield not_supported("reclaimPolicy", new.reclaim_policy, ("Delete", "Retain"))
        if new.volume_binding_mode not in ("Immediate", "WaitForFirstConsumer"):
            yield not_supported("volumeBindingMode", new.volume_binding_mode, ("Immediate", "WaitForFirstConsumer"))
        for index, term in enumerate(new.allowed_topologies):
            yield from _term(term, f"allowedTopologies[{index}]")
            if any(_places(term) == _places(other) for other in new.allowed_topologies[:index]):
                yield duplicate(f"allowedTopologies[{index}].matchLabelExpressions", "")

    def validate_update(self, new: StorageClass, old: StorageClass) -> Iterator[FieldError]:
        yield from self.validate(new)
        if new.parameters != old.parameters:
            yield forbidden("parameters", "updates to parameters are forbidden.")
        if new.provisioner != old.provisioner:
            yield forbidden("provisioner", "updates to provisioner are forbidden.")
        if new.reclaim_policy != old.reclaim_policy:
            yield forbidden("reclaimPolicy", "updates to reclaimPolicy are forbidden.")
        if new.volume_binding_mode != old.volume_binding_mode:
            yield invalid("volumeBindingMode", new.volume_binding_mode, "field is immutable")

    def warnings(self, new: StorageClass, old: StorageClass | None) -> Iterable[str]:
        for index, term in enumerate(new.allowed_topologies):
            for place, one in enumerate(term.match_label_expressions):
                if one.key in node_label_warnings.DEPRECATED:
                    where = f"allowedTopologies[{index}].matchLabelExpressions[{place}].key"
                    yield f"{where}: {node_label_warnings.DEPRECATED[one.key]}"


def _places(term: TopologySelectorTerm) -> dict[str, frozenset[str]]:
    return {one.key: frozenset(one.values) for one in term.match_label_expressions}


def validate_parameters(parameters: Mapping[str, str]) -> Iterator[FieldError]:
    """Everything wrong with what a driver is told."""
    if len(parameters) > _MOST_PARAMETERS:
        yield too_long("parameters", _MOST_PARAMETERS)
        return
    for name in parameters:
        if not name:
            yield invalid("parameters", name, "field can not be empty.")
    if sum(len(name.encode()) + len(value.encode()) for name, value in parameters.items()) > _LONGEST_PARAMETERS:
        yield too_long("parameters", _LONGEST_PARAMETERS)


def _term(term: TopologySelectorTerm, path: str) -> Iterator[FieldError]:
    expressions = term.match_label_expressions
    for index, one in enumerate(expressions):
        here = f"{path}.matchLabelExpressions[{index}]"
        if not one.values:
            yield required(f"{here}.values")
        for place, value in enumerate(one.values):
            if value in one.values[:place]:
                yield duplicate(f"{here}.values[{place}]", value)
        for complaint in names.qualified_name(one.key):
            yield invalid(f"{here}.key", one.key, complaint)
        if any(one.key == other.key for other in expressions[:index]):
            yield duplicate(f"{here}.key", one.key)
