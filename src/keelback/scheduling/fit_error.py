"""Why a pod fits nowhere, in upstream's words: what `kubectl describe pod` shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from keelback.scheduling.framework import Unschedulable

NO_NODES = "no nodes available to schedule pods"

_ABSENT_FROM_PREEMPTION = "Preemption is not helpful for scheduling"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What each node answered. `pre_filter` is set when no node was asked."""

    total: int
    """How many nodes there are."""
    by_node: Mapping[str, Unschedulable] = field(default_factory=dict)
    pre_filter: Unschedulable | None = None
    plugins: frozenset[str] = frozenset()
    """The plugins that said no: what happens next matters only if it can change their mind."""

    def message(self, preemption: str = "") -> str:
        """The whole sentence; `preemption` is what became of trying to make room."""
        if self.total == 0:
            return NO_NODES
        text = f"0/{self.total} nodes are available:"
        if self.pre_filter is not None:
            text += f" {', '.join(self.pre_filter.reasons)}."
        else:
            text += _histogram(Counter(reason for answer in self.by_node.values() for reason in answer.reasons))
        return f"{text} {preemption}" if preemption else text

    def unresolvable(self, node_name: str) -> bool:
        """Whether removing pods from the node would not help."""
        if self.pre_filter is not None:
            return self.pre_filter.unresolvable
        answer = self.by_node.get(node_name)
        return answer is None or answer.unresolvable


def preemption_message(total: int, by_node: Mapping[str, Unschedulable]) -> str:
    """What preemption adds when it found no node: `by_node` has those that were tried."""
    reasons = Counter(reason for answer in by_node.values() for reason in answer.reasons)
    if len(by_node) < total:
        reasons[_ABSENT_FROM_PREEMPTION] += total - len(by_node)
    return f"preemption: 0/{total} nodes are available:{_histogram(reasons)}"


def _histogram(reasons: Counter[str]) -> str:
    sentences = sorted(f"{number} {reason}" for reason, number in reasons.items())
    return f" {', '.join(sentences)}." if sentences else ""
