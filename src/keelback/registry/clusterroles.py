"""ClusterRoles."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.api.rbac_v1 import ClusterRole
from keelback.apimachinery import labels, names
from keelback.apimachinery.errors import FieldError, invalid, required
from keelback.registry import label_selectors
from keelback.registry.cells import CREATED_AT
from keelback.registry.rbac import validate_rules
from keelback.registry.strategy import Strategy


class ClusterRoleStrategy(Strategy[ClusterRole]):
    kind = ClusterRole
    checks_metadata_as_new = True
    columns = (CREATED_AT,)
    is_created_by_update = True
    counts_generations = False

    def validate(self, new: ClusterRole) -> Iterator[FieldError]:
        yield from validate_rules(new.rules or (), namespaced=False)
        if new.aggregation_rule is None:
            return
        selectors, path = new.aggregation_rule.cluster_role_selectors, "aggregationRule.clusterRoleSelectors"
        if not selectors:
            yield required(path, "at least one clusterRoleSelector required if aggregationRule is non-nil")
        for index, selector in enumerate(selectors):
            yield from label_selectors.validate(selector, f"{path}[{index}]")
            try:
                labels.from_label_selector(selector)
            except labels.LabelSelectorError:
                # Upstream shows what it could not make of the selector: nothing.
                yield invalid(f"{path}[{index}]", None, "invalid label selector.")

    def validate_name(self, name: str, *, is_prefix: bool) -> names.Complaints:
        return names.path_segment(name, is_prefix=is_prefix)
