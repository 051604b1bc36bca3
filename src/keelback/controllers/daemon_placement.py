"""Which nodes a DaemonSet's pods belong on, and which pods to make and delete for that. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from keelback.api import nodes, pods, taints
from keelback.api.apps_v1 import DaemonSet, RollingUpdateDaemonSet
from keelback.api.core_v1 import (
    Affinity,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    PodSpec,
    Toleration,
)
from keelback.apimachinery.int_or_string import scaled_value
from keelback.apimachinery.meta import replace
from keelback.controllers.observed import NodeView, PodView
from keelback.controllers.revisions import HASH_LABEL

_NODE_NAME = "metadata.name"
_NEVER = datetime.min.replace(tzinfo=UTC)

_TOLERATIONS = (
    Toleration(key=taints.NOT_READY, operator="Exists", effect=taints.NO_EXECUTE),
    Toleration(key=taints.UNREACHABLE, operator="Exists", effect=taints.NO_EXECUTE),
    Toleration(key=taints.DISK_PRESSURE, operator="Exists", effect=taints.NO_SCHEDULE),
    Toleration(key=taints.MEMORY_PRESSURE, operator="Exists", effect=taints.NO_SCHEDULE),
    Toleration(key=taints.PID_PRESSURE, operator="Exists", effect=taints.NO_SCHEDULE),
    Toleration(key=taints.UNSCHEDULABLE, operator="Exists", effect=taints.NO_SCHEDULE),
)
_HOST_NETWORK = Toleration(key=taints.NETWORK_UNAVAILABLE, operator="Exists", effect=taints.NO_SCHEDULE)


@dataclass(slots=True)
class Plan:
    """Nodes to make a pod for, and pods to delete; `failed` among them are pods that ended in failure."""

    create: list[str] = dataclasses.field(default_factory=list)
    delete: list[PodView] = dataclasses.field(default_factory=list)
    failed: list[PodView] = dataclasses.field(default_factory=list)


def daemon_tolerations(spec: PodSpec) -> tuple[Toleration, ...]:
    """The tolerations of the template and those every daemon has: it stays on nodes that are in trouble."""
    added = (*_TOLERATIONS, _HOST_NETWORK) if spec.host_network else _TOLERATIONS
    missing = [one for one in added if one not in spec.tolerations]
    return (*spec.tolerations, *missing)


def pinned(spec: PodSpec, node_name: str) -> PodSpec:
    """The pod spec for one node: the scheduler still places it, but has no other choice."""
    requirement = NodeSelectorRequirement(key=_NODE_NAME, operator="In", values=(node_name,))
    affinity = spec.affinity or Affinity()
    node_affinity = affinity.node_affinity or NodeAffinity()
    held = node_affinity.required_during_scheduling_ignored_during_execution
    terms = held.node_selector_terms if held is not None else ()
    # Upstream replaces the fields of each term and keeps its expressions.
    placed = tuple(replace(term, match_fields=(requirement,)) for term in terms if term.match_expressions)
    selector = NodeSelector(node_selector_terms=placed or (NodeSelectorTerm(match_fields=(requirement,)),))
    node_affinity = replace(node_affinity, required_during_scheduling_ignored_during_execution=selector)
    return replace(spec, affinity=replace(affinity, node_affinity=node_affinity), tolerations=daemon_tolerations(spec))


def should_run(daemon_set: DaemonSet, node: NodeView) -> tuple[bool, bool]:
    """(whether a pod should be started on the node, whether one that is there may stay)."""
    spec = daemon_set.spec.template.spec
    if spec.node_name and spec.node_name != node.metadata.name:
        return False, False
    if not nodes.selected_by(node.metadata.name, node.metadata.labels, spec.node_selector, spec.affinity):
        return False, False
    tolerations = daemon_tolerations(spec)
    if taints.untolerated(node.spec.taints, tolerations) is None:
        return True, True
    # NoSchedule keeps new pods away and lets old ones stay; NoExecute does not.
    only_no_execute = frozenset({taints.NO_EXECUTE})
    return False, taints.untolerated(node.spec.taints, tolerations, only_no_execute) is None


def node_of(pod: PodView) -> str:
    """The node a pod is on or, not bound yet, is meant for; empty where it is not pinned to any."""
    if pod.spec.node_name:
        return pod.spec.node_name
    affinity = pod.spec.affinity.node_affinity if pod.spec.affinity is not None else None
    required = affinity.required_during_scheduling_ignored_during_execution if affinity is not None else None
    for term in required.node_selector_terms if required is not None else ():
        for field in term.match_fields:
            if field.key == _NODE_NAME and len(field.values) == 1:
                return field.values[0]
    return ""


def plan(
    daemon_set: DaemonSet,
    all_nodes: Sequence[NodeView],
    by_node: Mapping[str, Sequence[PodView]],
    current_hash: str,
    now: datetime,
) -> Plan:
    """One pod on each node that should have one, none elsewhere; replacing old ones is for `rolling_update`."""
    result = Plan()
    known = {node.metadata.name for node in all_nodes}
    for node in all_nodes:
        should_start, may_stay = should_run(daemon_set, node)
        mine = by_node.get(node.metadata.name, ())
        if should_start and not mine:
            result.create.append(node.metadata.name)
        elif may_stay:
            _plan_node(result, daemon_set, node.metadata.name, mine, current_hash, now)
        else:
            result.delete.extend(pod for pod in mine if not pods.is_terminating(pod))
    for name, mine in by_node.items():
        # Of pods on nodes that are gone only those not bound yet are ours to delete: the pod collector has the others.
        if name not in known:
            result.delete.extend(pod for pod in mine if not pod.spec.node_name and not pods.is_terminating(pod))
    return result


def rolling_update(
    daemon_set: DaemonSet,
    all_nodes: Sequence[NodeView],
    by_node: Mapping[str, Sequence[PodView]],
    current_hash: str,
    now: datetime,
) -> Plan:
    """What to replace next: at most `maxUnavailable` nodes are without an available pod, or `maxSurge` have two.

    Nodes that should have none count too, as long as they have one. Pods that are going are taken for gone.
    """
    runs = {node.metadata.name: should_run(daemon_set, node)[0] for node in all_nodes}
    surge, unavailable = update_limits(daemon_set, sum(runs.values()))
    found = {
        name: _newest_of_each([pod for pod in mine if not pods.is_terminating(pod)], current_hash)
        for name, mine in sorted(by_node.items())
    }
    if surge > 0:
        return _surge(daemon_set, runs, found, surge, now)
    result = Plan()
    candidates: list[PodView] = []
    missing = 0
    for new, old in found.values():
        if new is not None:
            missing += old is not None or not _is_available(daemon_set, new, now)
        elif old is None:
            missing += 1
        elif _is_available(daemon_set, old, now):
            candidates.append(old)
        else:
            # It is not available anyway: replacing it costs nothing.
            result.delete.append(old)
            missing += 1
    result.delete.extend(candidates[: max(0, unavailable - missing)])
    return result


def update_limits(daemon_set: DaemonSet, desired: int) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) as numbers; never both zero."""
    rolling = daemon_set.spec.update_strategy.rolling_update or RollingUpdateDaemonSet()
    surge = scaled_value(rolling.max_surge, desired, round_up=True)
    unavailable = scaled_value(rolling.max_unavailable, desired, round_up=True)
    return (surge, 1) if surge == 0 and unavailable == 0 else (surge, unavailable)


def is_current(pod: PodView, current_hash: str) -> bool:
    """Whether the pod was made from the present template."""
    return pod.metadata.labels.get(HASH_LABEL) == current_hash


def _plan_node(
    result: Plan, daemon_set: DaemonSet, node: str, mine: Sequence[PodView], current_hash: str, now: datetime
) -> None:
    running: list[PodView] = []
    for pod in mine:
        if pods.is_terminating(pod):
            continue
        if pod.status.phase == "Failed":
            result.failed.append(pod)
        elif pod.status.phase == "Succeeded":
            result.delete.append(pod)
        else:
            running.append(pod)
    if len(running) <= 1:
        return
    new, old = _newest_of_each(running, current_hash)
    if new is not None and old is not None and _allows_surge(daemon_set):
        # Two pods are right while one takes over; the old one goes when the new one is available.
        extra = [pod for pod in running if pod is not new and pod is not old]
        if _is_available(daemon_set, new, now):
            extra.append(old)
        result.delete.extend(extra)
        return
    running.sort(key=lambda pod: (not pod.spec.node_name, pod.metadata.creation_timestamp or _NEVER))
    result.delete.extend(running[1:])


def _surge(
    daemon_set: DaemonSet,
    runs: Mapping[str, bool],
    found: Mapping[str, tuple[PodView | None, PodView | None]],
    surge: int,
    now: datetime,
) -> Plan:
    """`runs` says of each node whether a pod belongs there, `found` has the new pod and the old one of each."""
    result = Plan()
    candidates: list[str] = []
    misplaced: list[PodView] = []
    surging = available = 0
    for name, (new, old) in found.items():
        first = old or new
        serves = first is not None and _is_available(daemon_set, first, now)
        available += serves
        if old is None or name not in runs:
            continue
        if new is not None:
            if _is_available(daemon_set, new, now):
                result.delete.append(old)
            else:
                surging += 1
        elif not runs[name]:
            (misplaced if serves else result.delete).append(old)
        elif serves:
            candidates.append(name)
        else:
            result.create.append(name)
    # Those where none belong serve on until as many as are wanted do so elsewhere.
    result.delete.extend(misplaced[: max(0, available - sum(runs.values()))])
    result.create.extend(candidates[: max(0, surge - surging)])
    return result


def _newest_of_each(mine: Sequence[PodView], current_hash: str) -> tuple[PodView | None, PodView | None]:
    ordered = sorted(mine, key=lambda pod: pod.metadata.creation_timestamp or _NEVER)
    live = [pod for pod in ordered if not pods.is_terminal(pod)]
    new = [pod for pod in live if is_current(pod, current_hash)]
    old = [pod for pod in live if not is_current(pod, current_hash)]
    return (new[-1] if new else None), (old[-1] if old else None)


def _is_available(daemon_set: DaemonSet, pod: PodView, now: datetime) -> bool:
    return not pods.is_terminating(pod) and pods.is_available(pod, daemon_set.spec.min_ready_seconds, now)


def _allows_surge(daemon_set: DaemonSet) -> bool:
    rolling = daemon_set.spec.update_strategy.rolling_update
    return rolling is not None and rolling.max_surge not in (0, "0%")
