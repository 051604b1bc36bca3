"""What if: changes of a snapshot, and where its waiting pods would then go."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from keelback.apimachinery.meta import replace
from keelback.scheduler.cycle import Assigned
from keelback.scheduler.snapshot import Snapshot
from keelback.scheduling import scheduling_gates
from keelback.scheduling.pod_info import controller_of
from keelback.scheduling.pod_to_place import PodToPlace

_MIRROR = "kubernetes.io/config.mirror"
_FINISHED = ("Succeeded", "Failed")


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
        if not stays and pod.status.phase not in _FINISHED:
            snapshot.put(replace(pod, spec=replace(pod.spec, node_name="")))


def place_all(snapshot: Snapshot) -> list[Outcome]:
    """Place every waiting pod, the most important first. Victims are gone; what their owners do is not simulated."""
    waiting = [
        pod
        for pod in snapshot.pods.values()
        if not pod.spec.node_name and pod.status.phase not in _FINISHED and pod.metadata.deletion_timestamp is None
    ]
    waiting.sort(key=lambda pod: (-(pod.spec.priority or 0), pod.metadata.namespace, pod.metadata.name))
    return [_place(snapshot, pod) for pod in waiting]


def _place(snapshot: Snapshot, pod: PodToPlace) -> Outcome:
    metadata = pod.metadata
    if pod.spec.scheduling_gates:
        return Outcome(metadata.namespace, metadata.name, message=scheduling_gates.MESSAGE)
    decision = snapshot.decide(pod)
    if isinstance(decision, Assigned):
        return Outcome(metadata.namespace, metadata.name, decision.node_name)
    if decision.candidate is None:
        return Outcome(metadata.namespace, metadata.name, message=decision.message)
    victims = tuple(f"{one.namespace}/{one.name}" for one in decision.candidate.victims)
    for one in decision.candidate.victims:
        held = snapshot.pods.get((one.namespace, one.name))
        if held is not None:
            snapshot.remove_pod(held)
        snapshot.observation.nodes.remove_pod(one.node_name, one.uid)
    again = snapshot.decide(pod)
    if isinstance(again, Assigned):
        return Outcome(metadata.namespace, metadata.name, again.node_name, victims=victims)
    return Outcome(metadata.namespace, metadata.name, message=again.message, victims=victims)
