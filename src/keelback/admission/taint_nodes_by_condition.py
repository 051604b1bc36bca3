"""TaintNodesByCondition: a new node takes no pods until it has said that it is ready."""

from __future__ import annotations

from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest
from keelback.api.core_v1 import Node, Taint
from keelback.apimachinery.meta import replace

_NOT_READY = Taint(key="node.kubernetes.io/not-ready", effect="NoSchedule")


class TaintNodesByCondition(AdmissionPlugin):
    """Adds the taint; the node lifecycle controller removes it."""

    name = "TaintNodesByCondition"
    resources = frozenset({"nodes"})

    async def admit(self, request: AdmissionRequest) -> Node:
        node = request.new(Node)
        if any((taint.key, taint.effect) == (_NOT_READY.key, _NOT_READY.effect) for taint in node.spec.taints):
            return node
        return replace(node, spec=replace(node.spec, taints=(*node.spec.taints, _NOT_READY)))
