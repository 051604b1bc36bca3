"""ClusterRoleBindings."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.api.rbac_v1 import ClusterRoleBinding
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError
from keelback.registry import rbac
from keelback.registry.strategy import Strategy


class ClusterRoleBindingStrategy(Strategy[ClusterRoleBinding]):
    kind = ClusterRoleBinding
    checks_metadata_as_new = True
    columns = rbac.BINDING_COLUMNS
    is_created_by_update = True
    counts_generations = False

    def default(self, new: ClusterRoleBinding, old: ClusterRoleBinding | None = None) -> ClusterRoleBinding:
        return rbac.with_subject_groups(new)

    def validate(self, new: ClusterRoleBinding) -> Iterator[FieldError]:
        yield from rbac.validate_binding(new.role_ref, new.subjects, ("ClusterRole",), namespaced=False)

    def validate_update(self, new: ClusterRoleBinding, old: ClusterRoleBinding) -> Iterator[FieldError]:
        yield from self.validate(new)
        yield from rbac.validate_same_role(new.role_ref, old.role_ref)

    def validate_name(self, name: str, *, is_prefix: bool) -> names.Complaints:
        return names.path_segment(name, is_prefix=is_prefix)
