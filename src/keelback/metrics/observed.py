"""What is read of nodes and pods: names, labels, and where the kubelet listens."""

from __future__ import annotations

from keelback.api.core_v1 import Node, NodeAddress, NodeDaemonEndpoints, Pod
from keelback.apimachinery.meta import ManagedFieldsEntry, Object, ObjectMeta, Value, named, narrow, written


class LabelledMeta(ObjectMeta):
    """Metadata without `managedFields`, which nobody here reads."""

    # No field on the wire has this name, so nothing is ever decoded into it.
    managed_fields: tuple[ManagedFieldsEntry, ...] = named("-", ())


class MeasuredNodeStatus(Value):
    addresses: tuple[NodeAddress, ...] = ()
    daemon_endpoints: NodeDaemonEndpoints = NodeDaemonEndpoints()


@narrow(Node)
class MeasuredNode(Object):
    """A node as the metrics API sees it."""

    metadata: LabelledMeta = written(LabelledMeta())
    status: MeasuredNodeStatus = MeasuredNodeStatus()


@narrow(Pod)
class MeasuredPod(Object):
    """A pod as the metrics API sees it."""

    metadata: LabelledMeta = written(LabelledMeta())
