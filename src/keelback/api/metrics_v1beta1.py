"""The types of metrics.k8s.io/v1beta1: what nodes and pods use now. They are answered, never stored."""

from __future__ import annotations

from collections.abc import Mapping

from keelback.apimachinery.meta import Object, Quantity, Time, Value, kind, written


class ContainerMetrics(Value):
    name: str = written("")
    usage: Mapping[str, Quantity] = written({})


@kind("metrics.k8s.io/v1beta1", "nodes", namespaced=False)
class NodeMetrics(Object):
    """What a node used, on average over the `window` that ended at `timestamp`."""

    timestamp: Time | None = written(None)
    window: str = written("")
    usage: Mapping[str, Quantity] = written({})


@kind("metrics.k8s.io/v1beta1", "pods")
class PodMetrics(Object):
    """What a pod's containers used, on average over the `window` that ended at `timestamp`."""

    timestamp: Time | None = written(None)
    window: str = written("")
    containers: tuple[ContainerMetrics, ...] = written(())
