"""Labels of nodes that have new names: whoever still chooses nodes by the old ones is warned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from keelback.api.core_v1 import NodeSelectorTerm
from keelback.apimachinery.meta import LabelSelector

DEPRECATED: Final = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
    "app.kubernetes.io/created-by": "deprecated since v1.9",
    "scheduler.alpha.kubernetes.io/preferAvoidPods": "deprecated since v1.22; use Taints and Tolerations instead",
    "node-role.kubernetes.io/master": 'use "node-role.kubernetes.io/control-plane" instead',
}


def of_node_term(term: NodeSelectorTerm, path: str) -> Iterator[str]:
    """The warnings about a choice of nodes by their labels."""
    yield from _of_keys((one.key for one in term.match_expressions), path)


def of_selector(selector: LabelSelector | None, path: str) -> Iterator[str]:
    """The warnings about a label selector for nodes."""
    if selector is None:
        return
    yield from _of_keys((one.key for one in selector.match_expressions), path)
    for key in selector.match_labels:
        if key in DEPRECATED:
            yield f"{path}.matchLabels.{key}: {DEPRECATED[key]}"


def _of_keys(keys: Iterable[str], path: str) -> Iterator[str]:
    for index, key in enumerate(keys):
        if key in DEPRECATED:
            yield f"{path}.matchExpressions[{index}].key: {key} is {DEPRECATED[key]}"
