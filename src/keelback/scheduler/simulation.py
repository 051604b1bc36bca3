"""What if: changes of a snapshot, and where its waiting pods would then go."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from keelback.apimachinery.meta import replace
from keelback.scheduler import simulated_claims
from keelback.scheduler.cycle import Assigned, Refused
from keelback.scheduler.snapshot import FINISHED, Snapshot
from keelback.scheduling import scheduling_gates
from keelback.scheduling.default_preemption import Candidate
from keelback.scheduling.pod_info import controller_of
from keelback.scheduling.pod_to_place import PodToPlace

_MIRROR = "kubernetes.io/config.mirror"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one pod."""

    namespace: str
    name: str
    node_name: str = ""
    """Where it went; empty for nowhere."""
    message: str = ""
    """Why it went nowhere."""
    victims: tuple[str, ...] = ()
    """The pods that had to go for it, by namespace and name."""


def cordon(snapshot: Snapshot, node_name: str) -> None:
    """Let nothing new come to a node. Raises LookupError where there is none of that name."""
    nodes = snapshot.observation.nodes
    row = nodes.row_of.get(node_name)
    if row is None:
        raise LookupError(f'nodes "{node_name}" not found')
    nodes.set_info(dataclasses.replace(nodes.nodes[row], unschedulable=True))


def drain(snapshot: Snapshot, node_name: str) -> None:
    """Cordon a node and have its pods wait for another: all but those of DaemonSets and of the node itself."""
    cordon(snapshot, node_name)
    for pod in [one for one in snapshot.pods.values() if one.spec.node_name == node_name]:
        owner = controller_of(pod.metadata)
        stays = _MIRROR in pod.metadata.annotations or (owner is not None and owner.kind == "DaemonSet")
        if not stays and pod.status.phase not in FINISHED:
            simulated_claims.free(snapshot, pod)
            snapshot.put(replace(pod, spec=replace(pod.spec, node_name="")))


def place_all(snapshot: Snapshot) -> list[Outcome]:
    """Place every waiting pod, the most important first. Victims are gone; what their owners do is not simulated."""
    waiting = [
        pod
        for pod in snapshot.pods.values()
        if not pod.spec.node_name and pod.status.phase not in FINISHED and pod.metadata.deletion_timestamp is None
    ]
    waiting = [simulated_claims.make(snapshot, pod) for pod in waiting]
    waiting.sort(key=lambda pod: (-(pod.spec.priority or 0), pod.metadata.namespace, pod.metadata.name))
    outcomes: dict[tuple[str, str], Outcome] = {}
    for pod in waiting:
        if (pod.metadata.namespace, pod.metadata.name) in outcomes:
            continue
        in_group = pod.spec.scheduling_group is not None and not pod.spec.scheduling_gates
        found = _place_group(snapshot, pod) if in_group else (_place(snapshot, pod),)
        outcomes |= {(one.namespace, one.name): one for one in found}
    return list(outcomes.values())


def _place_group(snapshot: Snapshot, pod: PodToPlace) -> Iterator[Outcome]:
    """Place the pod and those of its group that wait with it."""
    decision = snapshot.decide_group(pod)
    if isinstance(decision, str):
        yield Outcome(pod.metadata.namespace, pod.metadata.name, message=decision)
        return
    victims = {
        one.queued.uid: _remove(snapshot, one.candidate)
        for one in decision.pods
        if isinstance(one, Refused) and one.candidate is not None
    }
    again = snapshot.decide_group(pod) if victims else decision
    assert not isinstance(again, str)
    for one in again.pods:
        metadata, gone = one.queued.pod.metadata, victims.get(one.queued.uid, ())
        if isinstance(one, Assigned):
            simulated_claims.settle(snapshot, one)
            yield Outcome(metadata.namespace, metadata.name, one.node_name, victims=gone)
        else:
            yield Outcome(metadata.namespace, metadata.name, message=one.message, victims=gone)


def _place(snapshot: Snapshot, pod: PodToPlace) -> Outcome:
    metadata = pod.metadata
    if pod.spec.scheduling_gates:
        return Outcome(metadata.namespace, metadata.name, message=scheduling_gates.MESSAGE)
    decision = snapshot.decide(pod)
    if isinstance(decision, Assigned):
        simulated_claims.settle(snapshot, decision)
        return Outcome(metadata.namespace, metadata.name, decision.node_name)
    if decision.candidate is None:
        return Outcome(metadata.namespace, metadata.name, message=decision.message)
    victims = _remove(snapshot, decision.candidate)
    again = snapshot.decide(pod)
    if isinstance(again, Assigned):
        simulated_claims.settle(snapshot, again)
        return Outcome(metadata.namespace, metadata.name, again.node_name, victims=victims)
    return Outcome(metadata.namespace, metadata.name, message=again.message, victims=victims)


def _remove(snapshot: Snapshot, candidate: Candidate) -> tuple[str, ...]:
    for one in candidate.victims:
        held = snapshot.pods.get((one.namespace, one.name))
        if held is not None:
            simulated_claims.free(snapshot, held)
            snapshot.remove_pod(held)
        snapshot.observation.nodes.remove_pod(one.node_name, one.uid)
    return tuple(f"{one.namespace}/{one.name}" for one in candidate.victims)
