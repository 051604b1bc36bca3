"""NodeDeclaredFeatureValidator: a pod on a node changes only in ways that the node says it knows. https://kep.k8s.io/5328"""

from __future__ import annotations

from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest, Operation, Reader
from keelback.api import nodes, pods
from keelback.api.core_v1 import Container, Node, Pod
from keelback.apimachinery import errors, quantity
from keelback.apimachinery.meta import Object, Value, narrow, written


class _DeclaredFeatures(Value):
    declared_features: tuple[str, ...] = ()


@narrow(Node)
class _NodeWithFeatures(Object):
    """A node, of which only what it declares is of interest."""

    status: _DeclaredFeatures = written(_DeclaredFeatures())


class NodeDeclaredFeatureValidator(AdmissionPlugin):
    """Refuses what the pod's node lacks a feature for."""

    name = "NodeDeclaredFeatureValidator"
    resources = frozenset({"pods", "pods/resize"})
    operations = frozenset({Operation.UPDATE})

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def validate(self, request: AdmissionRequest) -> None:
        new, old = request.new(Pod), request.old(Pod)
        if not new.spec.node_name:
            return
        needed = features_of_change(new, old)
        if not needed:
            return
        name = new.spec.node_name
        try:
            node = await self._reader.get(_NodeWithFeatures, name)
        except errors.NotFound:
            raise request.forbidden(f'node "{name}" not found') from None
        lacking = [one for one in needed if one not in node.status.declared_features]
        if lacking:
            raise request.forbidden(
                f'pod update requires features {", ".join(lacking)} which are not available on node "{name}"'
            )


def features_of_change(new: Pod, old: Pod) -> tuple[str, ...]:
    """Which features a node must declare for a pod of it to change so."""
    if new.spec is old.spec:
        return ()
    found = []
    if pods.qos_class(old) == "Guaranteed" and any(
        _cpu(now) != _cpu(then) for now, then in zip(new.spec.containers, old.spec.containers, strict=False)
    ):
        found.append(nodes.GUARANTEED_CPU_RESIZE)
    if new.spec.resources != old.spec.resources:
        found.append(nodes.POD_LEVEL_RESIZE)
    return tuple(found)


def _cpu(container: Container) -> int:
    return quantity.milli_value(container.resources.requests.get("cpu", "0"))
