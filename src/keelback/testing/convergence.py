"""Does the cluster come to the same state whatever went wrong on the way? One seed makes the work and the faults.

A seed that fails replays exactly: `python bench/convergence.py 1 SEED`.
"""

from __future__ import annotations

import functools
import json
import random
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

from keelback.apimachinery.errors import NotFound, StatusError, TooManyRequests
from keelback.testing.cluster import Cluster
from keelback.testing.convergence_rules import broken_at_rest, broken_on_the_way
from keelback.testing.convergence_work import NODES, Step, preparations, steps
from keelback.testing.recording import Recording

_CALM_SECONDS: Final = 900.0
_CRON_SECONDS: Final = 120.0
"""How often each CronJob runs."""
_SEEDS_OF_ONE_WORK: Final = 3
_CONTROLLERS: Final = "kube-controller-manager"
_UNDER_WAY: Final = (
    *("nothing", "watches", "controllers", "controllers", "scheduler", "kubelet", "apiserver"),
    *("clock", "cut off", "cut off"),
)


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a cluster that had faults differs from one that had none, or breaks a rule."""

    seed: int
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a cluster has come to, the rules it broke, and how it came there."""

    facts: Mapping[str, Any]
    broken: tuple[str, ...]
    recording: Recording


def compare(seed: int) -> Difference | None:
    """Play a seed with its faults and its work without; None where nothing differs and no rule is broken.

    Three seeds in a row do the same work, which is played once without faults.
    """
    work = seed // _SEEDS_OF_ONE_WORK
    calm, spoiled = _calm(work), play(work, faults=seed)
    lines = [f"without faults: {one}" for one in calm.broken] + list(spoiled.broken)
    for key in sorted(calm.facts.keys() | spoiled.facts.keys()):
        if calm.facts.get(key) != spoiled.facts.get(key):
            lines.append(f"{key}: {spoiled.facts.get(key)} with faults, {calm.facts.get(key)} without")
    return Difference(seed, tuple(lines)) if lines else None


@functools.lru_cache(maxsize=1)
def _calm(work: int) -> Outcome:
    return play(work)


def play(work: int, *, faults: int | None = None) -> Outcome:
    """Carry out a work's steps, with the faults of a seed or without."""
    chance = random.Random(f"faults {faults}")
    with Cluster(seed=work, nodes=NODES) as cluster:
        recording = cluster.record()
        for step in preparations():
            _carry_out(cluster, step)
            cluster.advance(step.pause_seconds)
        with ExitStack() as stack:
            if faults is not None:
                for fault in _faults(chance):
                    stack.enter_context(cluster.inject(**fault))
            for step in steps(work):
                _carry_out(cluster, step)
                if faults is None:
                    cluster.advance(step.pause_seconds)
                else:
                    _disturb(cluster, chance, step.pause_seconds)
        for name in cluster.components:
            cluster.start_component(name)
        for number in range(NODES):
            cluster.connect(f"node-{number}")
        # It ends between two runs of CronJobs: faults may have set the clock to any second.
        since_run = (cluster.now.timestamp() + _CALM_SECONDS) % _CRON_SECONDS
        cluster.advance(_CALM_SECONDS + (_CRON_SECONDS * 1.5 - since_run) % _CRON_SECONDS)
        held = {key: json.loads(value) for _, _, key, value in map(json.loads, cluster.history().splitlines())}
        broken = (*broken_on_the_way(recording), *broken_at_rest(held))
        return Outcome(summary(cluster), broken, recording)


def summary(cluster: Cluster) -> dict[str, Any]:
    """What the cluster has come to, without what chance decides: names and uids of pods, nodes, times."""
    found: dict[str, Any] = {}
    for kind in ("deployments", "statefulsets", "daemonsets", "jobs", "cronjobs", "poddisruptionbudgets"):
        for one in cluster.list(kind):
            # Which Jobs a CronJob has made lies in when it could.
            if kind == "jobs" and one["metadata"].get("ownerReferences"):
                continue
            found[f"{kind}/{one['metadata']['name']}"] = _facts(kind, one)
    for kind in ("namespaces", "services", "horizontalpodautoscalers"):
        found[kind] = sorted(one["metadata"]["name"] for one in cluster.list(kind, namespace=""))
    found["shared"] = [
        one["metadata"]["name"] for one in cluster.list("configmaps", field_selector="metadata.name=shared")
    ]
    images = Counter(
        (_owner(pod).rpartition("-")[0] or _owner(pod), pod["spec"]["containers"][0]["image"], pod["status"]["phase"])
        for pod in cluster.list("pods")
        # Of a pod whose creation nobody heard of another is made: how many have ended is not said.
        if pod["status"]["phase"] not in ("Succeeded", "Failed")
    )
    for key, number in images.items():
        found["pods " + " ".join(key)] = number
    return found


def _facts(kind: str, one: Mapping[str, Any]) -> Any:
    status = one.get("status", {})
    names: tuple[str, ...]
    match kind:
        case "deployments":
            names = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas")
        case "statefulsets":
            names = ("replicas", "currentReplicas", "updatedReplicas", "readyReplicas", "availableReplicas")
        case "daemonsets":
            names = ("desiredNumberScheduled", "updatedNumberScheduled", "numberReady", "numberMisscheduled")
        case "poddisruptionbudgets":
            names = ("expectedPods", "desiredHealthy", "currentHealthy", "disruptionsAllowed")
        case "jobs":
            names = ("succeeded", "completedIndexes", "failedIndexes")
        case _:
            return (bool(status.get("active")), bool(status.get("lastSuccessfulTime")))
    if kind != "jobs" and status.get("observedGeneration") != one["metadata"].get("generation"):
        return ("not observed", status)
    facts = tuple(status.get(name, 0) for name in names)
    ends = sorted(
        one["type"] for one in status.get("conditions", ()) if one["type"] in ("Complete", "Failed", "Available")
    )
    return (*facts, *ends)


def _owner(pod: Mapping[str, Any]) -> str:
    references = pod["metadata"].get("ownerReferences", [])
    return f"{references[0]['kind']}/{references[0]['name']}" if references else ""


# What people do.


def _carry_out(cluster: Cluster, step: Step) -> None:
    match step.verb:
        case "apply":
            _until_it_may_be_made(cluster, step)
            cluster.apply(step.tree, namespace=step.namespace)
        case "patch":
            cluster.patch(step.target, step.tree, namespace=step.namespace)
        case "share":
            owners = [cluster.get(f"configmap/{name}") for name in step.tree["owners"]]
            metadata = {"name": step.target.partition("/")[2], "ownerReferences": [_reference(one) for one in owners]}
            cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
        case "delete":
            try:
                cluster.delete(step.target, propagation_policy=step.tree["policy"], namespace=step.namespace)
            except NotFound:
                # A Job that does not outlive its end.
                assert step.target.startswith("job/")
        case "evict":
            for name in _names_of_pods(cluster, "guarded=yes")[: step.tree["pods"]]:
                _evict(cluster, name)
        case "drain":
            cluster.patch(step.target, {"spec": {"unschedulable": True}})
            # Those of Jobs stay: each that is evicted is one more that failed.
            node = step.target.partition("/")[2]
            for name in _names_of_pods(cluster, "!worker,kind!=cronjob,kind!=daemonset", f"spec.nodeName={node}"):
                _evict(cluster, name)
        case _:
            cluster.patch(step.target, {"spec": {"unschedulable": None}})


def _reference(owner: Mapping[str, Any]) -> dict[str, Any]:
    named = {key: owner["metadata"][key] for key in ("name", "uid")}
    return {"apiVersion": owner["apiVersion"], "kind": owner["kind"], **named}


def _until_it_may_be_made(cluster: Cluster, step: Step) -> None:
    """What is being deleted is gone: applied to that, the new fields would go with it."""
    try:
        if cluster.get(step.target, namespace=step.namespace)["metadata"].get("deletionTimestamp"):
            cluster.wait(step.target, "deleted", namespace=step.namespace, timeout=_CALM_SECONDS)
    except NotFound:
        pass


def _names_of_pods(cluster: Cluster, labels: str, fields: str = "") -> list[str]:
    found = cluster.list("pods", label_selector=labels, field_selector=fields)
    return sorted(one["metadata"]["name"] for one in found)


def _evict(cluster: Cluster, name: str) -> None:
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "default"}}
    try:
        cluster.request("POST", f"/api/v1/namespaces/default/pods/{name}/eviction", body=eviction)
    except (TooManyRequests, NotFound):
        pass
    except StatusError as error:
        # Two budgets for one pod are more than an eviction can keep.
        if error.status.code != 500:
            raise


# What goes wrong.


def _faults(chance: random.Random) -> list[dict[str, Any]]:
    """Faults that last as long as the work does."""
    every = [
        {"client": _CONTROLLERS, "verb": "patch", "status": 409, "probability": 0.15},
        {"client": _CONTROLLERS, "verb": "update", "status": 409, "probability": 0.15},
        {"client": _CONTROLLERS, "verb": "create", "status": 500, "probability": 0.15},
        {"client": _CONTROLLERS, "verb": "create", "lost": True, "probability": 0.1},
        {"client": _CONTROLLERS, "verb": "delete", "lost": True, "probability": 0.1},
        {"client": _CONTROLLERS, "verb": "patch", "lost": True, "probability": 0.1},
        {"client": _CONTROLLERS, "status": 429, "retry_after": 1, "probability": 0.1},
        {"client": _CONTROLLERS, "status": 503, "probability": 0.05},
        {"client": _CONTROLLERS, "verb": "watch", "status": 410, "probability": 0.3},
        {"client": _CONTROLLERS, "latency": 0.5, "probability": 0.2},
        {"client": "kubelet", "status": 500, "probability": 0.1},
        {"client": "kubelet", "lost": True, "probability": 0.1},
        {"client": "kube-scheduler", "status": 409, "probability": 0.1},
        {"client": "kube-scheduler", "lost": True, "probability": 0.1},
    ]
    return chance.sample(every, chance.randint(2, 6))


def _disturb(cluster: Cluster, chance: random.Random, seconds: float) -> None:
    """Let time pass, with something breaking in the middle of it."""
    before = seconds * chance.random()
    cluster.advance(before)
    pause = chance.choice((0.0, 0.1, 3.0))
    match chance.choice(_UNDER_WAY):
        case "nothing":
            pass
        case "watches":
            cluster.drop_watches()
        case "clock":
            cluster.step_clock(chance.choice((-90.0, -3.0, 20.0, 45.0, 600.0)))
        case "cut off":
            # Long enough to be noticed, or for its pods to be given up.
            node = f"node-{chance.randrange(NODES)}"
            cluster.disconnect(node)
            cluster.advance(chance.choice((3.0, 60.0, 120.0, 420.0)))
            cluster.connect(node)
        case what:
            names = {"controllers": "controller-manager", "kubelet": f"kubelet/node-{chance.randrange(NODES)}"}
            name = names.get(what, what)
            cluster.stop_component(name)
            cluster.advance(pause)
            cluster.start_component(name)
    cluster.advance(seconds - before)
