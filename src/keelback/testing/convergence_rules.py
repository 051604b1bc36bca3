"""Rules that every cluster keeps: some at every moment, over the writes of a recording, some when it is at rest. Pure.

At every moment means: of decisions. What a controller decides is judged by what it can have known, never by what a
fault did to it a moment later.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from keelback.testing.convergence_trees import FORGIVEN, Deleters, Tree, has_ended, is_ready, of, owner_uid
from keelback.testing.convergence_work import GUARDED_MINIMUM, LIMITED_PODS
from keelback.testing.convergence_workloads import Updates, miscounted
from keelback.testing.faults import Asked
from keelback.testing.recording import Recording, Write, replayed

_GARBAGE_COLLECTOR: Final = "kube-controller-manager/generic-garbage-collector"
_NEVER: Final = "9999"


def broken_on_the_way(recording: Recording) -> list[str]:
    """The rules that were broken at some moment."""
    surges = _Surges()
    counts = _Counts()
    evictions = _Evictions(recording.asked)
    collected = _Collected(recording.asked)
    updates = Updates(recording.asked)
    broken: list[str] = []
    for write, held in replayed(recording.writes):
        broken += _two_controllers(write)
        broken += _over_quota(write, held)
        broken += _claimed_twice(write)
        for rule in (surges, counts, evictions, collected, updates):
            broken += rule.look(write, held)
    return list(dict.fromkeys(broken))


def broken_at_rest(held: Mapping[str, Tree]) -> list[str]:
    """The rules that are broken by all that a cluster holds, by its keys, once nothing happens any more."""
    broken: list[str] = []
    uids = {tree["metadata"].get("uid") for tree in held.values()}
    for key, tree in held.items():
        if key.startswith("/registry/events/"):
            continue
        name = key.removeprefix("/registry/")
        broken += [
            f"{name} is an orphan: {reference['kind']} {reference['name']} is gone"
            for reference in tree["metadata"].get("ownerReferences", ())
            if reference["uid"] not in uids
        ]
        if tree["metadata"].get("deletionTimestamp"):
            broken.append(f"{name} does not go: {tree['metadata'].get('finalizers')}")
        if name.startswith("pods/") and tree["metadata"].get("finalizers"):
            broken.append(f"{name} was never counted")
    for job in of(held, "jobs"):
        broken += _miscounted(job)
    broken += miscounted(held)
    broken += _slices_not_of_pods(held)
    broken += _quotas_not_of_pods(held)
    broken += _budgets_not_of_pods(held)
    broken += _claims_unbound(held)
    return broken


# At every moment.


def _two_controllers(write: Write) -> Iterator[str]:
    references = (write.after or {"metadata": {}})["metadata"].get("ownerReferences", ())
    if sum(bool(reference.get("controller")) for reference in references) > 1:
        yield f"{write.key} has two controllers"


def _over_quota(write: Write, held: Mapping[str, Tree]) -> Iterator[str]:
    if write.before is not None or not write.key.startswith("/registry/pods/limited/"):
        return
    if "status" not in held.get("/registry/resourcequotas/limited/pods", {}):
        return
    # Neither pods that have ended count, nor those whose grace is over: a node that is cut off cannot say they went.
    counted = [
        key
        for key, pod in held.items()
        if key.startswith("/registry/pods/limited/")
        and not has_ended(pod)
        and pod["metadata"].get("deletionTimestamp", _NEVER) > write.at.strftime("%Y-%m-%dT%H:%M:%SZ")
    ]
    if len(counted) > LIMITED_PODS:
        yield f"{write.key} makes {len(counted)} pods where a quota allows {LIMITED_PODS}"


def _claimed_twice(write: Write) -> Iterator[str]:
    if write.resource != "persistentvolumeclaims" or write.after is None or write.before is None:
        return
    before, after = (tree["spec"].get("volumeName", "") for tree in (write.before, write.after))
    if before and before != after:
        yield f"{write.key} was bound to {before}, and now to {after}"


class _Surges:
    """What the deployment controller asks of its ReplicaSets: not above maxSurge, nor below maxUnavailable.

    It may have seen any generation since the one that it said it has observed.
    """

    def __init__(self) -> None:
        self._specs: dict[str, dict[int, Tree]] = defaultdict(dict)
        self._available: dict[str, list[tuple[datetime, int]]] = defaultdict(list)

    def look(self, write: Write, held: Mapping[str, Tree]) -> Iterator[str]:
        after, before = write.after, write.before
        if after is None:
            return
        if write.resource == "deployments":
            self._specs[after["metadata"]["uid"]][after["metadata"]["generation"]] = after["spec"]
        if write.resource != "replicasets":
            return
        uid = after["metadata"]["uid"]
        seen = self._available[uid]
        seen.append((write.at, after.get("status", {}).get("availableReplicas", 0)))
        was = 0 if before is None else before["spec"]["replicas"]
        if after["spec"]["replicas"] == was:
            return
        owner, deployment = _controller(after, held)
        if deployment is None or deployment["metadata"].get("deletionTimestamp"):
            return
        observed = deployment.get("status", {}).get("observedGeneration", 0)
        specs = [spec for number, spec in self._specs[owner].items() if number >= observed]
        sets = [one for one in of(held, "replicasets") if owner_uid(one) == owner]
        total = sum(one["spec"]["replicas"] for one in sets)
        if after["spec"]["replicas"] > was:
            allowed = max(spec["replicas"] + _part(spec, "maxSurge", up=True) for spec in specs)
            if total > max(allowed, total - after["spec"]["replicas"] + was):
                yield f"{write.key} asks for {after['spec']['replicas']}: {total} where {allowed} may be"
            return
        minimum = min(spec["replicas"] - _part(spec, "maxUnavailable", up=False) for spec in specs)
        yield from self._too_few(write, sets, was, minimum)

    def _too_few(self, write: Write, sets: Sequence[Tree], was: int, minimum: int) -> Iterator[str]:
        assert write.after is not None
        left = before = 0
        for one in sets:
            uid = one["metadata"]["uid"]
            known = [number for at, number in self._available[uid] if write.at - at <= FORGIVEN]
            available = max(known or [one.get("status", {}).get("availableReplicas", 0)])
            left += min(available, one["spec"]["replicas"])
            before += min(available, was if uid == write.after["metadata"]["uid"] else one["spec"]["replicas"])
        if left < min(minimum, before):
            yield f"{write.key} goes down to {write.after['spec']['replicas']}: {left} are left where {minimum} must be"


class _Counts:
    """What a Job has counted never becomes less, and is not more than what there was to count."""

    def __init__(self) -> None:
        self._succeeded: dict[str, set[str]] = defaultdict(set)
        self._gone: dict[str, set[str]] = defaultdict(set)

    def look(self, write: Write, _: Mapping[str, Tree]) -> Iterator[str]:
        if write.resource == "pods":
            pod = write.after or write.before
            assert pod is not None
            phase, uid = pod.get("status", {}).get("phase"), pod["metadata"]["uid"]
            if phase == "Succeeded":
                self._succeeded[owner_uid(pod)].add(uid)
            if phase == "Failed" or write.is_deletion or write.after is None:
                self._gone[owner_uid(pod)].add(uid)
        if write.resource != "jobs" or write.after is None:
            return
        status, uid = write.after.get("status", {}), write.after["metadata"]["uid"]
        was = (write.before or {}).get("status", {})
        for name, found in (("succeeded", self._succeeded[uid]), ("failed", self._gone[uid])):
            if status.get(name, 0) < was.get(name, 0):
                yield f"{write.key} counted {was[name]} {name}, and now {status.get(name, 0)}"
            if status.get(name, 0) > len(found):
                yield f"{write.key} counts {status[name]} {name} where {len(found)} have been"


class _Evictions:
    """An eviction that is granted leaves the guarded pods as many as their budget says.

    Ready, or Ready until lately: that a node was cut off a moment ago nobody can know.
    """

    def __init__(self, asked: Iterable[Asked]) -> None:
        self._granted = {(one.name, one.at) for one in asked if one.resource == "pods/eviction" and one.status == 201}
        self._ready: dict[str, datetime] = {}

    def look(self, write: Write, held: Mapping[str, Tree]) -> Iterator[str]:
        if write.resource != "pods":
            return
        for tree in (write.before, write.after):
            if tree is not None and is_ready(tree):
                self._ready[tree["metadata"]["uid"]] = write.at
        name = write.key.rpartition("/")[2]
        if not write.is_deletion or (name, write.at) not in self._granted or not name.startswith("guarded-"):
            return
        # A pod that never ran may go whatever a budget says.
        if write.before is not None and write.before["status"]["phase"] == "Pending":
            return
        left = [
            pod
            for pod in _guarded(held)
            if not pod["metadata"].get("deletionTimestamp") and self._was_ready(pod, write.at)
        ]
        if len(left) < GUARDED_MINIMUM:
            yield f"{write.key} was evicted: {len(left)} are left where a budget says {GUARDED_MINIMUM}"

    def _was_ready(self, pod: Tree, at: datetime) -> bool:
        last = self._ready.get(pod["metadata"]["uid"])
        return is_ready(pod) or (last is not None and at - last <= FORGIVEN)


class _Collected:
    """The garbage collector takes nothing whose owner is there and stays."""

    def __init__(self, asked: Iterable[Asked]) -> None:
        self._deleters = Deleters(asked)
        self._live: Counter[str] = Counter()

    def look(self, write: Write, _: Mapping[str, Tree]) -> Iterator[str]:
        for tree, change in ((write.before, -1), (write.after, 1)):
            if tree is not None and not tree["metadata"].get("deletionTimestamp"):
                self._live[tree["metadata"].get("uid", "")] += change
        if not write.is_deletion or write.before is None:
            return
        references = write.before["metadata"].get("ownerReferences", ())
        staying = [one for one in references if self._live[one["uid"]] > 0]
        if staying and self._deleters.of(write) == {_GARBAGE_COLLECTOR}:
            yield f"{write.key} was collected though {staying[0]['kind']} {staying[0]['name']} is there"


# At rest.


def _miscounted(job: Tree) -> Iterator[str]:
    status, spec, name = job.get("status", {}), job["spec"], job["metadata"]["name"]
    if status.get("uncountedTerminatedPods") or status.get("active") or status.get("terminating"):
        yield f"jobs/{name} still counts: {status}"
    ends = {one["type"] for one in status.get("conditions", ()) if one["status"] == "True"}
    if "Complete" in ends and status.get("succeeded") != spec.get("completions", 1):
        yield f"jobs/{name} is complete with {status.get('succeeded')} of {spec.get('completions')}"


def _slices_not_of_pods(held: Mapping[str, Tree]) -> Iterator[str]:
    """A Service's slices have the addresses of the pods that it selects, each once."""
    for key, service in held.items():
        if not key.startswith("/registry/services/specs/") or not service["spec"].get("selector"):
            continue
        namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
        wanted = Counter(
            (pod["status"]["podIP"], is_ready(pod))
            for pod in of(held, "pods")
            if pod["metadata"]["namespace"] == namespace
            and service["spec"]["selector"].items() <= pod["metadata"].get("labels", {}).items()
            and pod.get("status", {}).get("podIP")
            and not has_ended(pod)
        )
        found = Counter(
            (address, endpoint["conditions"]["ready"])
            for one in of(held, "endpointslices")
            if one["metadata"]["namespace"] == namespace
            and one["metadata"].get("labels", {}).get("kubernetes.io/service-name") == name
            for endpoint in one.get("endpoints") or ()
            for address in endpoint["addresses"]
        )
        if wanted != found:
            yield f"services/{name} has {sorted(found.items())} in its slices, and pods {sorted(wanted.items())}"


def _quotas_not_of_pods(held: Mapping[str, Tree]) -> Iterator[str]:
    for quota in of(held, "resourcequotas"):
        namespace = quota["metadata"]["namespace"]
        pods = [one for one in of(held, "pods") if one["metadata"]["namespace"] == namespace]
        jobs = sum(one["metadata"]["namespace"] == namespace for one in of(held, "jobs"))
        counted = sum(not has_ended(one) for one in pods)
        used = quota.get("status", {}).get("used", {})
        if used != {"pods": str(counted), "count/jobs.batch": str(jobs)}:
            yield f"a quota says {used} where there are {counted} pods and {jobs} jobs"


def _budgets_not_of_pods(held: Mapping[str, Tree]) -> Iterator[str]:
    for budget in of(held, "poddisruptionbudgets"):
        labels = budget["spec"]["selector"]["matchLabels"].items()
        pods = [one for one in of(held, "pods") if labels <= one["metadata"].get("labels", {}).items()]
        healthy, status = sum(map(is_ready, pods)), budget.get("status", {})
        if status.get("currentHealthy", 0) != healthy or status.get("disruptedPods"):
            yield f"poddisruptionbudgets/{budget['metadata']['name']} says {status} where {healthy} are healthy"
        allowed = max(0, healthy - status.get("desiredHealthy", 0))
        if status.get("disruptionsAllowed", 0) != allowed:
            yield f"poddisruptionbudgets/{budget['metadata']['name']} says {status} where {allowed} may go"


def _claims_unbound(held: Mapping[str, Tree]) -> Iterator[str]:
    """Claims and volumes are bound in pairs, and the claims of pods are bound."""
    for claim in of(held, "persistentvolumeclaims"):
        name, phase = claim["metadata"]["name"], claim.get("status", {}).get("phase")
        volume = held.get(f"/registry/persistentvolumes/{claim['spec'].get('volumeName', '')}")
        if phase != "Bound" or volume is None:
            yield f"persistentvolumeclaims/{name} is {phase}"
        elif volume["spec"].get("claimRef", {}).get("uid") != claim["metadata"]["uid"]:
            yield f"persistentvolumeclaims/{name} has a volume that is another's"


def _part(spec: Tree, name: str, *, up: bool) -> int:
    """maxSurge or maxUnavailable as a number of pods. Recreate has neither: all may be down, none is too many."""
    strategy = spec.get("strategy", {})
    if strategy.get("type") == "Recreate":
        return 0 if up else int(spec["replicas"])
    value = strategy.get("rollingUpdate", {}).get(name, "25%")
    if isinstance(value, int):
        return value
    share: float = int(value.rstrip("%")) * spec["replicas"] / 100
    return math.ceil(share) if up else math.floor(share)


def _guarded(held: Mapping[str, Tree]) -> list[Tree]:
    return [tree for key, tree in held.items() if key.startswith("/registry/pods/default/guarded-")]


def _controller(tree: Tree, held: Mapping[str, Tree]) -> tuple[str, Tree | None]:
    uid = owner_uid(tree)
    return uid, next((one for one in of(held, "deployments") if one["metadata"]["uid"] == uid), None)
