"""Rules for StatefulSets and DaemonSets at every moment, and for what workloads say of their pods at rest. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final

from keelback.testing.convergence_trees import FORGIVEN, Deleters, Tree, has_ended, is_ready, of, owner_uid
from keelback.testing.faults import Asked
from keelback.testing.recording import Write

_AGENTS: Final = {
    "StatefulSet": "kube-controller-manager/statefulset-controller",
    "DaemonSet": "kube-controller-manager/daemon-set-controller",
}
_COUNTED: Final = {
    "replicasets": "replicas",
    "statefulsets": "replicas",
    "daemonsets": "currentNumberScheduled",
}
"""Which field of a workload's status says how many pods it has that have not ended."""
_LOST: Final = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_ALWAYS_OWNED: Final = ("pods", "replicasets", "controllerrevisions")


class Updates:
    """A rolling update of a StatefulSet or DaemonSet ends no more of the pods that serve than it may.

    Pods of a StatefulSet that is ordered are made one after another. Each pod has a place: its number, or its node.
    What happened to it lately the controller need not know, unless it did it; it may have seen any generation since
    the one that it said it has observed.
    """

    def __init__(self, asked: Iterable[Asked]) -> None:
        self._deleters = Deleters(asked)
        self._served: dict[str, dict[str, datetime]] = defaultdict(dict)
        self._specs: dict[str, dict[int, Tree]] = defaultdict(dict)
        self._lost: dict[str, datetime] = {}
        """When a node was last known to be lost, or to have been until then."""

    def look(self, write: Write, held: Mapping[str, Tree]) -> Iterator[str]:
        if write.resource in ("statefulsets", "daemonsets") and write.after is not None:
            metadata = write.after["metadata"]
            self._specs[metadata["uid"]][metadata["generation"]] = write.after["spec"]
        if write.resource == "minions" and (_is_lost(write.before) or _is_lost(write.after)):
            self._lost[write.key.rpartition("/")[2]] = write.at
        if write.resource != "pods":
            return
        owner = self._owner(write, held)
        if owner is None:
            return
        for tree in (write.before, write.after):
            if tree is not None and is_ready(tree):
                self._served[owner["metadata"]["uid"]][_place(tree, owner)] = write.at
        if write.before is None:
            yield from self._too_early(write, owner, held)
        elif write.is_deletion and _AGENTS[owner["kind"]] in self._deleters.of(write):
            yield from self._too_many(write, owner, held)

    def _owner(self, write: Write, held: Mapping[str, Tree]) -> Tree | None:
        pod = write.after or write.before
        assert pod is not None
        uid = owner_uid(pod)
        sets = [*of(held, "statefulsets"), *of(held, "daemonsets")]
        return next((one for one in sets if one["metadata"]["uid"] == uid), None)

    def _possible(self, owner: Tree) -> list[Tree]:
        observed = owner.get("status", {}).get("observedGeneration", 0)
        return [spec for number, spec in self._specs[owner["metadata"]["uid"]].items() if number >= observed]

    def _serving(self, write: Write, owner: Tree, held: Mapping[str, Tree]) -> set[str]:
        """The places where a pod is Ready, or was until lately."""
        lately = self._served[owner["metadata"]["uid"]].items()
        found = {place for place, at in lately if write.at - at <= FORGIVEN}
        mine = (one for one in of(held, "pods") if owner_uid(one) == owner["metadata"]["uid"])
        return found.union(_place(one, owner) for one in mine if is_ready(one))

    def _is_taken_for_lost(self, name: str, write: Write, held: Mapping[str, Tree]) -> bool:
        last = self._lost.get(name)
        is_lost = any(_is_lost(one) for one in of(held, "minions") if one["metadata"]["name"] == name)
        return is_lost or (last is not None and write.at - last <= FORGIVEN)

    def _too_early(self, write: Write, owner: Tree, held: Mapping[str, Tree]) -> Iterator[str]:
        if owner["kind"] != "StatefulSet" or owner["spec"].get("podManagementPolicy") == "Parallel":
            return
        name, _, number = write.key.rpartition("/")[2].rpartition("-")
        serving = self._serving(write, owner, held)
        if missing := [n for n in range(int(number)) if f"{name}-{n}" not in serving]:
            yield f"{write.key} is made before {missing} of its set are Ready"

    def _too_many(self, write: Write, owner: Tree, held: Mapping[str, Tree]) -> Iterator[str]:
        assert write.before is not None
        place = _place(write.before, owner)
        # The controller's own doing it knows at once.
        self._served[owner["metadata"]["uid"]].pop(place, None)
        serving = self._serving(write, owner, held)
        if not is_ready(write.before) or place in serving:
            return
        if owner["kind"] == "StatefulSet":
            least = min(spec["replicas"] for spec in self._possible(owner))
            if int(place.rpartition("-")[2]) >= least:
                return
            wanted, unavailable = {f"{owner['metadata']['name']}-{n}" for n in range(least)}, 1
        else:
            mine = [one for one in of(held, "pods") if owner_uid(one) == owner["metadata"]["uid"]]
            used = {_place(one, owner) for one in mine if not one["metadata"].get("deletionTimestamp")}
            names = (one["metadata"]["name"] for one in of(held, "minions"))
            wanted = {name for name in names if name in used or not self._is_taken_for_lost(name, write, held)}
            unavailable = max(map(_max_unavailable, self._possible(owner)))
        left = len(wanted & serving)
        if left < len(wanted) - unavailable:
            yield f"{write.key} is deleted: {left} of {len(wanted)} are left where {unavailable} may be missing"


def miscounted(held: Mapping[str, Tree]) -> Iterator[str]:
    """What is wrong at rest: what only controllers make without one, and workloads that do not say what they have."""
    for resource in _ALWAYS_OWNED:
        for one in of(held, resource):
            if not owner_uid(one):
                yield f"{resource}/{one['metadata']['name']} belongs to nobody"
    pods: dict[str, list[Tree]] = defaultdict(list)
    for pod in of(held, "pods"):
        pods[owner_uid(pod)].append(pod)
    for resource, field in _COUNTED.items():
        for one in of(held, resource):
            mine = [pod for pod in pods[one["metadata"]["uid"]] if not has_ended(pod)]
            yield from _says(resource, one, {field: len(mine), _ready_field(resource): sum(map(is_ready, mine))})
    for one in of(held, "deployments"):
        sets = [each for each in of(held, "replicasets") if owner_uid(each) == one["metadata"]["uid"]]
        total = sum(each.get("status", {}).get("replicas", 0) for each in sets)
        ready = sum(each.get("status", {}).get("readyReplicas", 0) for each in sets)
        yield from _says("deployments", one, {"replicas": total, "readyReplicas": ready})
    for one in of(held, "daemonsets"):
        nodes = Counter(pod["spec"].get("nodeName") for pod in pods[one["metadata"]["uid"]] if not has_ended(pod))
        if twice := [node for node, number in nodes.items() if number > 1]:
            yield f"daemonsets/{one['metadata']['name']} has more than one pod on {twice}"


def _says(resource: str, one: Tree, facts: Mapping[str, int]) -> Iterator[str]:
    status = one.get("status", {})
    said = {name: status.get(name, 0) for name in facts}
    if said != facts:
        yield f"{resource}/{one['metadata']['name']} says {said} where there are {dict(facts)}"


def _ready_field(resource: str) -> str:
    return "numberReady" if resource == "daemonsets" else "readyReplicas"


def _place(pod: Tree, owner: Tree) -> str:
    return str(pod["metadata"]["name"] if owner["kind"] == "StatefulSet" else pod["spec"].get("nodeName", ""))


def _is_lost(node: Tree | None) -> bool:
    """Whether a node takes no daemons that it has not, because nobody reaches it."""
    taints = (node or {}).get("spec", {}).get("taints", ())
    return any(one["effect"] == "NoSchedule" and one["key"] in _LOST for one in taints)


def _max_unavailable(spec: Tree) -> int:
    return int(spec.get("updateStrategy", {}).get("rollingUpdate", {}).get("maxUnavailable", 1))
