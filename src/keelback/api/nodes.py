"""What one asks of nodes: readiness, addresses, and whether a node selector picks a node."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from keelback.api.core_v1 import (
    Affinity,
    Node,
    NodeCondition,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
)

HOSTNAME: Final = "kubernetes.io/hostname"
ZONE: Final = "topology.kubernetes.io/zone"
REGION: Final = "topology.kubernetes.io/region"
OS: Final = "kubernetes.io/os"
ARCH: Final = "kubernetes.io/arch"
GUARANTEED_CPU_RESIZE: Final = "GuaranteedQoSPodCPUResize"
"""Declared by nodes that can give a pod of the class Guaranteed more or less cpu while it runs (KEP-5328)."""
POD_LEVEL_RESIZE: Final = "InPlacePodLevelResourcesVerticalScaling"
"""Declared by nodes that can change the resources of a pod as a whole while it runs."""
_DECLARING_SINCE: Final = 36
SIMULATED: Final = "node.keelback.dev/simulated"
"""The label of nodes that run nothing."""

_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]+")


def declared_features(kubelet_version: str, *names: str) -> tuple[str, ...]:
    """The features as a kubelet of that version (`v1.36.0`) declares them: sorted; before 1.36 none."""
    minor = int(kubelet_version.split(".")[1])
    return tuple(sorted(names)) if minor >= _DECLARING_SINCE else ()


def condition(node: Node, type: str) -> NodeCondition | None:
    """The node's condition of that type, if it has reported one."""
    return next((found for found in node.status.conditions if found.type == type), None)


def is_ready(node: Node) -> bool:
    """Whether the node's Ready condition is True."""
    ready = condition(node, "Ready")
    return ready is not None and ready.status == "True"


def address(node: Node, type: str = "InternalIP") -> str:
    """The node's first address of that type, or an empty string."""
    return next((found.address for found in node.status.addresses if found.type == type), "")


def selected_by(name: str, labels: Mapping[str, str], selector: Mapping[str, str], affinity: Affinity | None) -> bool:
    """Whether a pod's `nodeSelector` and required node affinity both pick the node with this name and these labels."""
    if any(labels.get(key) != value for key, value in selector.items()):
        return False
    node_affinity = affinity.node_affinity if affinity else None
    required = node_affinity.required_during_scheduling_ignored_during_execution if node_affinity else None
    return required is None or matches(name, labels, required)


def matches(name: str, labels: Mapping[str, str], selector: NodeSelector) -> bool:
    """Whether any term picks the node; a selector without terms picks none."""
    return any(matches_term(name, labels, term) for term in selector.node_selector_terms)


def matches_term(name: str, labels: Mapping[str, str], term: NodeSelectorTerm) -> bool:
    """Whether every requirement of the term holds; an empty term picks nothing."""
    if not term.match_expressions and not term.match_fields:
        return False
    return matches_requirements(labels, term.match_expressions) and all(
        requirement.key == "metadata.name" and matches_requirement({"metadata.name": name}, requirement)
        for requirement in term.match_fields
    )


def matches_requirements(labels: Mapping[str, str], requirements: Iterable[NodeSelectorRequirement]) -> bool:
    """Whether all requirements hold for the labels."""
    return all(matches_requirement(labels, requirement) for requirement in requirements)


def matches_requirement(labels: Mapping[str, str], requirement: NodeSelectorRequirement) -> bool:
    """Whether one requirement holds. NotIn and DoesNotExist hold where the label is missing; Gt and Lt do not."""
    return holds(labels.get(requirement.key), requirement.operator, requirement.values)


def holds(value: str | None, operator: str, values: tuple[str, ...]) -> bool:
    """Whether a label's value (None when it is missing) satisfies an operator of a node selector."""
    match operator:
        case "In":
            return value is not None and value in values
        case "NotIn":
            return value is None or value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            return value is not None and len(values) == 1 and _compares(value, operator, values[0])
        case _:
            return False


def _compares(value: str, operator: str, threshold: str) -> bool:
    # Labels that are not whole numbers never compare, as upstream's ParseInt refuses them.
    if not (_WHOLE_NUMBER.fullmatch(value) and _WHOLE_NUMBER.fullmatch(threshold)):
        return False
    return int(value) > int(threshold) if operator == "Gt" else int(value) < int(threshold)
