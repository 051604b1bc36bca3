"""ClusterRoles."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.api.rbac_v1 import ClusterRole
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError
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

    def validate_name(self, name: str, *, is_prefix: bool) -> names.Complaints:
        return names.path_segment(name, is_prefix=is_prefix)
