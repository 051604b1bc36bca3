"""The clusterrole aggregation controller: a role such as `edit` is the union of the roles labelled into it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from keelback.api.rbac_v1 import ClusterRole, PolicyRule
from keelback.client import MergePatch
from keelback.controllers import adoption
from keelback.reconcile.context import Context
from keelback.reconcile.loop import Source
from keelback.reconcile.patches import tree
from keelback.reconcile.result import DONE, Result


def aggregated(role: ClusterRole, others: Iterable[ClusterRole]) -> tuple[PolicyRule, ...]:
    """The rules of all roles that match, each once, in the order of the roles' names."""
    aggregation = role.aggregation_rule
    found: list[PolicyRule] = []
    ordered = sorted(others, key=lambda one: one.metadata.name)
    for selector in aggregation.cluster_role_selectors if aggregation is not None else ():
        selects = adoption.by_selector(selector)
        for other in ordered:
            if other.metadata.name == role.metadata.name or not selects(other.metadata.labels):
                continue
            found.extend(rule for rule in other.rules or () if rule not in found)
    return tuple(found)


@dataclass(frozen=True, slots=True)
class ClusterRoleAggregationReconciler:
    """Rewrites the rules of a role that aggregates, when they differ."""

    context: Context
    name: ClassVar = "clusterrole-aggregation-controller"
    role: ClassVar = "clusterrole-aggregation-controller"
    component: ClassVar = "clusterrole-aggregation-controller"
    kind: ClassVar = ClusterRole
    owns: ClassVar = ()

    def sources(self) -> Sequence[Source]:
        return (Source(ClusterRole, self._aggregating),)

    async def reconcile(self, role: ClusterRole) -> Result:
        if role.aggregation_rule is None:
            return DONE
        wanted = aggregated(role, self.context.caches.store(ClusterRole).list())
        if wanted != tuple(role.rules or ()):
            patch = MergePatch({"rules": [tree(rule) for rule in wanted]})
            await self.context.client.patch(ClusterRole, role.metadata.name, "", patch)
        return DONE

    def _aggregating(self, changed: ClusterRole) -> list[tuple[str, str]]:
        store = self.context.caches.store(ClusterRole)
        return [("", one.metadata.name) for one in store.list() if one.aggregation_rule is not None]
