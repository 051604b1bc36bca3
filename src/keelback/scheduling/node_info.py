"""One node in plain form: what the scheduler reads of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from keelback.api.core_v1 import ContainerImage, Node, Taint
from keelback.api.pods import amounts
from keelback.apimachinery import meta
from keelback.apimachinery.meta import Value, written


class NodeSpecToPlaceOn(Value):
    """What placing pods needs to know of a node's spec."""

    taints: tuple[Taint, ...] = ()
    unschedulable: bool = False


class NodeStatusToPlaceOn(Value):
    """What placing pods needs to know of a node's status."""

    allocatable: Mapping[str, str] = {}
    declared_features: tuple[str, ...] = ()
    images: tuple[ContainerImage, ...] = ()


@meta.narrow(Node)
class NodeToPlaceOn(meta.Object):
    """A node, as far as the scheduler reads it."""

    spec: NodeSpecToPlaceOn = written(NodeSpecToPlaceOn())
    status: NodeStatusToPlaceOn = written(NodeStatusToPlaceOn())


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """One node in plain form: what is said about a single one, and what the columns were filled from."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    unschedulable: bool = False
    allocatable: Mapping[str, int] = field(default_factory=dict)
    """Millicores of cpu, base units of everything else."""
    images: tuple[ContainerImage, ...] = ()
    declared_features: frozenset[str] = frozenset()
    """New features that it says it has."""


def compile_node(node: NodeToPlaceOn) -> NodeInfo:
    """What scheduling reads of the node."""
    return NodeInfo(
        name=node.metadata.name,
        labels=node.metadata.labels,
        taints=node.spec.taints,
        unschedulable=node.spec.unschedulable,
        allocatable=amounts(node.status.allocatable),
        images=node.status.images,
        declared_features=frozenset(node.status.declared_features),
    )


def taint_key(taints: tuple[Taint, ...]) -> tuple[tuple[str, str, str], ...]:
    """Equal for lists of taints that keep the same pods away: when a taint was put there does not matter."""
    return tuple((taint.key, taint.value, taint.effect) for taint in taints)
