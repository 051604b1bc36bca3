"""Random changes, faults and restarts around the scheduler, from a seed, and what must hold of every placement.

No node is ever over-committed, no required rule broken, nobody preempted in vain; and when all is quiet, a pod that
waits has nowhere to go: the plain scheduler says so.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from keelback.apimachinery import errors
from keelback.scheduling.node_info import NodeInfo, NodeToPlaceOn, compile_node
from keelback.scheduling.pod_to_place import PodToPlace
from keelback.simulation.config import SimulatedNode, nodes
from keelback.testing.cluster import Cluster
from keelback.testing.plain_preemption import PlainPreemption, Victims
from keelback.testing.plain_scheduler import Oracle
from keelback.testing.random_clusters import HOSTNAME, ZONE, World
from keelback.testing.recording import Recording, Write, replayed

Tree = dict[str, Any]

PRIORITIES: Final = {"low": 1, "middle": 5, "high": 9}
_STEPS: Final = 25
_QUIET_SECONDS: Final = 40
"""Longer than any back-off, and shorter than it takes until rejected pods are tried whatever happens."""
_LATELY: Final = timedelta(seconds=5)
"""Longer than any write may take."""
_PREEMPTED_BY: Final = re.compile(r"Preempted by pod (\S+) on node")
_FINISHED: Final = ("Succeeded", "Failed")


def play(seed: int) -> list[str]:
    """Play a seed; what was not as it must be."""
    chance = random.Random(seed)
    with Cluster(nodes=_nodes(chance), heartbeat_seconds=300, seed=seed) as cluster:
        for name, value in PRIORITIES.items():
            kind = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass"}
            cluster.apply({**kind, "metadata": {"name": name}, "value": value})
        recording = cluster.record()
        for number in range(_STEPS):
            with ExitStack() as faults:
                if chance.random() < 0.4:
                    faults.enter_context(cluster.inject(**_fault(chance)))
                _step(cluster, chance, number)
                cluster.advance(chance.choice((0, 1, 4)))
            if chance.random() < 0.2:
                cluster.stop_component("scheduler")
                cluster.advance(chance.choice((0, 2)))
                cluster.start_component("scheduler")
        cluster.advance(_QUIET_SECONDS)
        return [*broken_on_the_way(recording, _preemptors(cluster.list("events"))), *forgotten(recording)]


def broken_on_the_way(recording: Recording, preempted_by: Mapping[str, str]) -> Iterator[str]:
    """Rules that were broken when a pod got its node, or was told to leave it; `preempted_by` says for whom, by uid, as
    far as is known."""
    promised = _promises(recording.writes)
    gone = [(one.at, one.before) for one in recording.writes if one.resource == "pods" and one.is_deletion]
    for write, held in replayed(recording.writes):
        if write.resource != "pods":
            continue
        before = write.before["spec"].get("nodeName") if write.before is not None else None
        if write.after is not None and write.after["spec"].get("nodeName") and not before:
            yield from _badly_placed(write.after, held)
        if write.after is not None and _is_preempted(write.after) and not _is_preempted(write.before):
            lately = [tree for at, tree in gone if tree is not None and write.at - _LATELY <= at <= write.at]
            yield from _in_vain(write.at, write.after, held, promised, lately, preempted_by)


def forgotten(recording: Recording) -> Iterator[str]:
    """Pods that wait at the end although there is a place for them, or one that could be made."""
    held: dict[str, Tree] = {}
    for write in recording.writes:
        held.pop(write.key, None)
        if write.after is not None:
            held[write.key] = write.after
    world = _world(held)
    for pod in (_pod(one) for one in _pods(held) if not one["spec"].get("nodeName")):
        fits = [node.name for node in world.nodes if not Oracle(world, pod).reasons(node)]
        if fits:
            yield f"{pod.metadata.name} waits, and fits on {', '.join(fits)}"
            continue
        made = PlainPreemption(world, pod, ()).on_every_node()
        room = [name for name, found in made.items() if isinstance(found, Victims)]
        if room:
            yield f"{pod.metadata.name} waits, and room could be made for it on {', '.join(room)}"


# What is done.


def _nodes(chance: random.Random) -> tuple[SimulatedNode, ...]:
    capacity = {"cpu": "2", "memory": "8Gi", "pods": "4"}
    made = nodes(chance.randint(2, 5), capacity=capacity)
    disks = ("ssd", "hdd")
    return tuple(
        replace(one, labels={ZONE: f"z{index % 2}", "disk": disks[index % 2]}) for index, one in enumerate(made)
    )


def _fault(chance: random.Random) -> Tree:
    spoiled = chance.choice(({"lost": True}, {"status": 500}, {"status": 409}, {"latency": 2.0}))
    what = chance.choice(({"resource": "pods/binding"}, {"resource": "pods/status"}, {"verb": "delete"}))
    return {"client": "kube-scheduler", "probability": 0.5, **what, **spoiled}


def _step(cluster: Cluster, chance: random.Random, number: int) -> None:
    pods = cluster.list("pods")
    match chance.randint(0, 9):
        case 0 | 1 if pods:
            for one in chance.sample(pods, min(len(pods), chance.randint(1, 3))):
                with suppress(errors.NotFound):
                    cluster.delete(f"pod/{one['metadata']['name']}")
        case 2:
            name = chance.choice(cluster.list("nodes", namespace=""))["metadata"]["name"]
            cluster.patch(f"node/{name}", {"spec": {"unschedulable": chance.random() < 0.5 or None}})
        case 3:
            cluster.drop_watches(client="kube-scheduler")
        case 4:
            spec = {"maxUnavailable": chance.randint(0, 1), "selector": {"matchLabels": {"app": "a"}}}
            cluster.apply(
                {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "a"}, "spec": spec}
            )
        case _:
            for index in range(chance.randint(1, 4)):
                cluster.apply(_random_pod(chance, f"p{number}-{index}"))


def _random_pod(chance: random.Random, name: str) -> Tree:
    app = chance.choice("ab")
    container: Tree = {
        "name": "c",
        "image": "one",
        "resources": {"requests": {"cpu": chance.choice(("300m", "500m", "1", "2"))}},
    }
    spec: Tree = {
        "containers": [container],
        "priorityClassName": chance.choice(tuple(PRIORITIES)),
        "terminationGracePeriodSeconds": chance.choice((0, 3)),
    }
    if chance.random() < 0.2:
        container["ports"] = [{"containerPort": 80, "hostPort": 80}]
    if chance.random() < 0.2:
        spec["nodeSelector"] = {"disk": chance.choice(("ssd", "hdd"))}
    if chance.random() < 0.2:
        term = {"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": chance.choice((HOSTNAME, ZONE))}
        spec["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": app}}, "spec": spec}


# What must hold.


def _badly_placed(tree: Tree, held: Mapping[str, Tree]) -> Iterator[str]:
    """Whether the pod fits where it is beside all that are there: what has changed since it was decided was less."""
    pod = _pod(tree)
    world = _world(held, without=pod.metadata.uid)
    for node in world.nodes:
        if node.name == pod.spec.node_name:
            oracle = Oracle(world, pod)
            # Whether the node was cordoned just now is not the scheduler's to know.
            for check in (oracle.node_affinity, oracle.node_ports, oracle.fit, oracle.inter_pod_affinity):
                yield from (f"{pod.metadata.name} on {node.name}: {reason}" for reason in check(node))


def _in_vain(
    at: datetime,
    tree: Tree,
    held: Mapping[str, Tree],
    promised: Sequence[tuple[datetime, str, str]],
    lately: Sequence[Tree],
    preempted_by: Mapping[str, str],
) -> Iterator[str]:
    """`lately` gone pods may be those that it was decided for."""
    victim = _pod(tree)
    name, node_name = victim.metadata.name, victim.spec.node_name
    if not node_name:
        # It was on its way to a node: decided, and not yet bound.
        return
    soon = at + timedelta(seconds=10)
    wanting = {uid for at, uid, where in promised if where == node_name and at <= soon}
    waiting = [_pod(one) for one in (*_pods(held), *lately) if not one["spec"].get("nodeName")]
    preemptors = [one for one in waiting if one.metadata.uid in wanting and _priority(one) > _priority(victim)]
    if not preemptors:
        yield f"{name} was preempted on {node_name} for nobody of higher priority"
        return
    node = next((one for one in _world(held).nodes if one.name == node_name), None)
    told = {tree["metadata"]["uid"] for tree in _pods(held, leaving=True) if _is_preempted(tree)}

    def stays(preemptor: PodToPlace) -> World:
        # Where those stay whom the preemptor did not need to go, and he with them, there must be no room. Who leaves of
        # his own accord or for somebody else still is there, as upstream has it.
        world = _world(held)
        go = {uid for uid in told if preempted_by.get(uid, preemptor.metadata.uid) == preemptor.metadata.uid}
        world.placed = [one for one in world.placed if one[1].metadata.uid not in go - {victim.metadata.uid}]
        return world

    if node is not None and not any(_lacks_room(stays(one), node, one, preemptors) for one in preemptors):
        names = ", ".join(one.metadata.name for one in preemptors)
        yield f"{name} was preempted on {node_name} in vain: {names} had room beside it"


def _preemptors(events: Sequence[Tree]) -> dict[str, str]:
    """For whom each victim went, by uid: what the scheduler tells people of it, once it has told the victim."""
    found = (
        (event["involvedObject"].get("uid", ""), _PREEMPTED_BY.match(event.get("message", "")))
        for event in events
        if event.get("reason") == "Preempted"
    )
    return {victim: match[1] for victim, match in found if match is not None}


def _lacks_room(world: World, node: NodeInfo, pod: PodToPlace, promised: Sequence[PodToPlace]) -> bool:
    """Whether the pod has no room on the node when all that are promised it are there."""
    others = [(node.name, one, False) for one in promised if one is not pod]
    return bool(Oracle(replace(world, placed=[*world.placed, *others]), pod).reasons(node))


def _promises(writes: Sequence[Write]) -> list[tuple[datetime, str, str]]:
    """When, to which pod, and which node."""
    return [
        (write.at, write.after["metadata"]["uid"], node)
        for write in writes
        if write.resource == "pods" and write.after is not None
        for node in (write.after.get("status", {}).get("nominatedNodeName"), write.after["spec"].get("nodeName"))
        if node
    ]


def _is_preempted(tree: Tree | None) -> bool:
    """Whether the scheduler has told the pod to go: whose deletion it is cannot be seen."""
    conditions = (tree or {}).get("status", {}).get("conditions", ())
    return any(one["type"] == "DisruptionTarget" and one["reason"] == "PreemptionByScheduler" for one in conditions)


def _world(held: Mapping[str, Tree], *, without: str = "") -> World:
    """All that is there, in the plain scheduler's form; a pod on its way out still is where it is."""
    found: list[NodeInfo] = [
        compile_node(_narrow(tree, NodeToPlaceOn)) for key, tree in held.items() if key.startswith("/registry/minions/")
    ]
    trees = [one for one in _pods(held, leaving=True) if one["spec"].get("nodeName")]
    placed = {
        one["metadata"]["uid"]: (one["spec"]["nodeName"], _pod(one), bool(one["metadata"].get("deletionTimestamp")))
        for one in trees
        if one["metadata"]["uid"] != without
    }
    return World(found, list(placed.values()), {"default": {}})


def _pods(held: Mapping[str, Tree], *, leaving: bool = False) -> list[Tree]:
    return [
        tree
        for key, tree in held.items()
        if key.startswith("/registry/pods/")
        and tree.get("status", {}).get("phase") not in _FINISHED
        and (leaving or not tree["metadata"].get("deletionTimestamp"))
    ]


def _pod(tree: Tree) -> PodToPlace:
    found: PodToPlace = _narrow(tree, PodToPlace)
    return found


def _narrow(tree: Tree, cls: type[Any]) -> Any:
    metadata = {key: value for key, value in tree["metadata"].items() if key != "managedFields"}
    return msgspec.convert({**tree, "metadata": metadata}, cls)


def _priority(pod: PodToPlace) -> int:
    return pod.spec.priority or 0
