"""Does the cluster come to the same state whatever went wrong on the way? One seed makes the work and the faults.

A seed that fails replays exactly; `python bench/convergence.py 100` plays many.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from keelback.testing.cluster import Cluster

_NAMES = ("a", "b", "c")
_STEPS = 12
_CALM_SECONDS = 900.0
_CONTROLLERS = "kube-controller-manager"


@dataclass(frozen=True, slots=True)
class Step:
    """Something people do, and how many seconds pass before the next."""

    verb: str
    target: str
    tree: Mapping[str, Any]
    pause_seconds: float


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a cluster that had faults differs from one that had none, or breaks a rule."""

    seed: int
    lines: tuple[str, ...]


def steps(seed: int) -> list[Step]:
    """What is done to the cluster: workloads made, changed, scaled and deleted."""
    chance = random.Random(f"steps {seed}")
    made: dict[str, Mapping[str, Any]] = {}
    result = []
    for _ in range(_STEPS):
        pause = chance.choice((0.0, 0.3, 2.0, 15.0))
        if made and chance.random() < 0.25:
            target = chance.choice(sorted(made))
            del made[target]
            policy = chance.choice(("Background", "Background", "Foreground"))
            result.append(Step("delete", target, {"policy": policy}, pause))
            continue
        kind = chance.choice(("deployment", "deployment", "statefulset", "daemonset", "job", "cronjob"))
        target = f"{kind}/{chance.choice(_NAMES)}"
        # The fields of a Job that may change are few: one that exists is left alone.
        if kind == "job" and target in made:
            continue
        made[target] = _workload(kind, target.partition("/")[2], chance)
        result.append(Step("apply", target, made[target], pause))
    return result


def play(seed: int, *, spoiled: bool) -> tuple[dict[str, Any], list[str]]:
    """Carry out the steps of a seed, with faults or without; the state at the end, and the rules it breaks."""
    chance = random.Random(f"faults {seed}")
    with Cluster(seed=seed, nodes=3) as cluster:
        with ExitStack() as stack:
            if spoiled:
                for fault in _faults(chance):
                    stack.enter_context(cluster.inject(**fault))
            for step in steps(seed):
                _carry_out(cluster, step)
                if spoiled:
                    _disturb(cluster, chance, step.pause_seconds)
                else:
                    cluster.advance(step.pause_seconds)
        for name in cluster.components:
            cluster.start_component(name)
        cluster.advance(_CALM_SECONDS)
        return summary(cluster), violations(cluster)


def compare(seed: int) -> Difference | None:
    """Play a seed twice; None where nothing differs."""
    calm, broken_calm = play(seed, spoiled=False)
    spoiled, broken = play(seed, spoiled=True)
    lines = [f"without faults: {one}" for one in broken_calm] + broken
    for key in sorted(calm.keys() | spoiled.keys()):
        if calm.get(key) != spoiled.get(key):
            lines.append(f"{key}: {spoiled.get(key)} with faults, {calm.get(key)} without")
    return Difference(seed, tuple(lines)) if lines else None


def summary(cluster: Cluster) -> dict[str, Any]:
    """What the cluster has come to, without what chance decides: names and uids of pods, nodes, times."""
    found: dict[str, Any] = {}
    for kind in ("deployments", "statefulsets", "daemonsets", "jobs", "cronjobs"):
        for one in cluster.list(kind):
            found[f"{kind}/{one['metadata']['name']}"] = _facts(kind, one)
    images = Counter(
        (_owner(pod).rpartition("-")[0] or _owner(pod), pod["spec"]["containers"][0]["image"], pod["status"]["phase"])
        for pod in cluster.list("pods")
        # Of a pod whose creation nobody heard of another is made: how many have succeeded is not said.
        if pod["status"]["phase"] != "Succeeded"
    )
    for key, number in images.items():
        found["pods " + " ".join(key)] = number
    return found


def violations(cluster: Cluster) -> list[str]:
    """The rules that hold in every cluster at rest."""
    held = {}
    for kind in ("replicasets", "deployments", "statefulsets", "daemonsets", "jobs", "cronjobs"):
        for one in cluster.list(kind):
            held[one["metadata"]["uid"]] = one
    broken = []
    for kind in ("pods", "replicasets", "jobs"):
        for one in cluster.list(kind):
            name = f"{kind}/{one['metadata']['name']}"
            references = one["metadata"].get("ownerReferences", [])
            if sum(bool(reference.get("controller")) for reference in references) > 1:
                broken.append(f"{name} has two controllers")
            broken += [f"{name} is an orphan" for reference in references if reference["uid"] not in held]
            if one["metadata"].get("deletionTimestamp"):
                broken.append(f"{name} does not go")
    for job in cluster.list("jobs"):
        status = job.get("status", {})
        if status.get("uncountedTerminatedPods") or status.get("active"):
            broken.append(f"jobs/{job['metadata']['name']} still counts: {status}")
    for pod in cluster.list("pods"):
        if pod["metadata"].get("finalizers"):
            broken.append(f"pods/{pod['metadata']['name']} was never counted")
    return broken


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
        case "jobs":
            names = ("succeeded", "completedIndexes")
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


def _workload(kind: str, name: str, chance: random.Random) -> dict[str, Any]:
    image = f"one:{chance.randrange(3)}"
    labels = {"kind": kind, "name": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": image}]}}
    tree: dict[str, Any] = {"apiVersion": "apps/v1", "metadata": {"name": name}}
    selected = {"selector": {"matchLabels": labels}, "template": template}
    match kind:
        case "deployment":
            strategy = "Recreate" if name == "c" else "RollingUpdate"
            spec = {"replicas": chance.randrange(7), "strategy": {"type": strategy}}
            return tree | {"kind": "Deployment", "spec": selected | spec}
        case "statefulset":
            policy = {"a": "OrderedReady", "b": "Parallel", "c": "OrderedReady"}[name]
            spec = {"replicas": chance.randrange(5), "serviceName": "s", "podManagementPolicy": policy}
            return tree | {"kind": "StatefulSet", "spec": selected | spec}
        case "daemonset":
            return tree | {"kind": "DaemonSet", "spec": selected}
        case "job":
            mode = chance.choice(("Indexed", "NonIndexed"))
            number = chance.randint(1, 6)
            spec = {"completions": number, "parallelism": chance.randint(1, 3), "completionMode": mode}
            return tree | {"apiVersion": "batch/v1", "kind": "Job", "spec": spec | {"template": _worker(template)}}
        case _:
            policy = chance.choice(("Allow", "Forbid", "Replace"))
            spec = {"schedule": "*/2 * * * *", "concurrencyPolicy": policy}
            job = {"jobTemplate": {"spec": {"template": _worker(template)}}}
            return tree | {"apiVersion": "batch/v1", "kind": "CronJob", "spec": spec | job}


def _worker(template: Mapping[str, Any]) -> dict[str, Any]:
    return {**template, "spec": {**template["spec"], "restartPolicy": "Never"}}


def _faults(chance: random.Random) -> list[dict[str, Any]]:
    """Faults that last as long as the work does."""
    every = [
        {"client": _CONTROLLERS, "verb": "patch", "status": 409, "probability": 0.15},
        {"client": _CONTROLLERS, "verb": "create", "status": 500, "probability": 0.15},
        {"client": _CONTROLLERS, "verb": "create", "lost": True, "probability": 0.1},
        {"client": _CONTROLLERS, "verb": "delete", "lost": True, "probability": 0.1},
        {"client": _CONTROLLERS, "verb": "patch", "lost": True, "probability": 0.1},
        {"client": _CONTROLLERS, "status": 429, "retry_after": 1, "probability": 0.1},
        {"client": _CONTROLLERS, "status": 503, "probability": 0.05},
        {"client": _CONTROLLERS, "verb": "watch", "status": 410, "probability": 0.3},
        {"client": _CONTROLLERS, "latency": 0.5, "probability": 0.2},
        {"client": "kubelet", "status": 500, "probability": 0.1},
        {"client": "kube-scheduler", "status": 409, "probability": 0.1},
    ]
    return chance.sample(every, chance.randint(2, 6))


def _disturb(cluster: Cluster, chance: random.Random, seconds: float) -> None:
    """Let time pass, with something breaking in the middle of it."""
    before = seconds * chance.random()
    cluster.advance(before)
    match chance.choice(("nothing", "watches", "controllers", "controllers", "scheduler", "kubelet", "apiserver")):
        case "watches":
            cluster.drop_watches()
        case "nothing":
            pass
        case what:
            names = {"controllers": "controller-manager", "kubelet": f"kubelet/node-{chance.randrange(3)}"}
            name = names.get(what, what)
            if name not in cluster.components:
                name = "controller-manager"
            cluster.stop_component(name)
            pause = min(seconds - before, chance.choice((0.0, 0.1, 3.0)))
            cluster.advance(pause)
            before += pause
            cluster.start_component(name)
    cluster.advance(seconds - before)


def _carry_out(cluster: Cluster, step: Step) -> None:
    if step.verb == "apply":
        cluster.apply(step.tree)
    else:
        cluster.delete(step.target, propagation_policy=step.tree["policy"])
