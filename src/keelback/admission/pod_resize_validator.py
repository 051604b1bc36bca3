"""PodResizeValidator: what a node can never give is refused when it is asked for. New in 1.36. https://issues.k8s.io/136043"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest, Operation, Reader
from keelback.api import nodes, pods
from keelback.api.core_v1 import Node, Pod
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Object, StatusCause, Value, narrow, replace, written

_COMPUTE: Final = ("cpu", "memory")


class _NodeRoom(Value):
    allocatable: Mapping[str, str] = {}


@narrow(Node)
class _NodeToGrow(Object):
    """A node, of which only its labels and its room are of interest."""

    status: _NodeRoom = written(_NodeRoom())


class PodResizeValidator(AdmissionPlugin):
    """Compares what a pod on a node would ask for with what the whole node has."""

    name = "PodResizeValidator"
    resources = frozenset({"pods/resize"})
    operations = frozenset({Operation.UPDATE})

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def validate(self, request: AdmissionRequest) -> None:
        new = request.new(Pod)
        if not new.spec.node_name or new.spec == request.old(Pod).spec:
            return
        try:
            node = await self._reader.get(_NodeToGrow, new.spec.node_name)
        except errors.NotFound:
            raise request.forbidden(f'node "{new.spec.node_name}" not found') from None
        too_much = list(_too_much(new, node))
        if too_much:
            why = f"Node didn't have enough allocatable resources: {'; '.join(too_much)}"
            raise _refusal(request, why, "NodeCapacity")
        system = node.metadata.labels.get(nodes.OS, "")
        if system != "linux":
            why = f'pod resize is only supported on linux nodes, node "{node.metadata.name}" is "{system}"'
            raise _refusal(request, why, "UnsupportedPlatform")


def _too_much(pod: Pod, node: _NodeToGrow) -> list[str]:
    wanted, has = pods.requests(pod), pods.amounts(node.status.allocatable)
    return [
        f"{name}, requested: {wanted[name]}, allocatable: {has.get(name, 0)}"
        for name in _COMPUTE
        if wanted.get(name, 0) > has.get(name, 0)
    ]


def _refusal(request: AdmissionRequest, why: str, cause: str) -> errors.Forbidden:
    """With a cause of its own, by which autoscalers know that trying again is of no use."""
    refusal = request.forbidden(why)
    assert refusal.status.details is not None
    return errors.Forbidden(
        refusal.message, details=replace(refusal.status.details, causes=(StatusCause(reason=cause),))
    )
