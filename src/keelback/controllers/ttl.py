"""The ttl controller: tells kubelets how long they may trust a Secret or ConfigMap they hold, by the cluster's size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from keelback.client import MergePatch
from keelback.controllers.observed import NodeView
from keelback.reconcile.context import Context
from keelback.reconcile.result import DONE, Result

ANNOTATION = "node.alpha.kubernetes.io/ttl"

_SECONDS_BY_SIZE = ((100, 0), (500, 15), (1000, 30), (2000, 60))
_MOST_SECONDS = 300


def ttl_seconds(nodes: int) -> int:
    """The time to live in a cluster of so many nodes."""
    return next((seconds for size, seconds in _SECONDS_BY_SIZE if nodes <= size), _MOST_SECONDS)


@dataclass(frozen=True, slots=True)
class TTLReconciler:
    """Writes the annotation where it differs."""

    context: Context
    name: ClassVar = "ttl-controller"
    role: ClassVar = "ttl-controller"
    component: ClassVar = "ttl-controller"
    kind: ClassVar = NodeView
    owns: ClassVar = ()

    async def reconcile(self, node: NodeView) -> Result:
        wanted = str(ttl_seconds(len(self.context.caches.store(NodeView))))
        if node.metadata.annotations.get(ANNOTATION) != wanted:
            patch = MergePatch({"metadata": {"uid": node.metadata.uid, "annotations": {ANNOTATION: wanted}}})
            await self.context.client.patch(NodeView, node.metadata.name, "", patch)
        return DONE
