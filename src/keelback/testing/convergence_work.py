"""What people do to a cluster in a seed of `keelback.testing.convergence`: chance decides, and each seed says the same.

Work is chosen so that its end does not depend on how fast the cluster was: what does (which pods an eviction hits) is
left to rules that hold at every moment, or is undone before the end.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_NAMES: Final = ("a", "b", "c")
_STEPS: Final = 14
NODES: Final = 3
GUARDED_REPLICAS: Final = 4
GUARDED_MINIMUM: Final = 3
LIMITED_PODS: Final = 5
_KINDS: Final = (
    *("deployment",) * 5,
    *("statefulset",) * 4,
    *("daemonset",) * 2,
    *("job",) * 4,
    *("cronjob",) * 2,
    *("service",) * 3,
    *("budget",) * 2,
    *("autoscaler",) * 2,
    *("limited",) * 2,
    *("namespace",) * 2,
    *("evict",) * 3,
    *("drain",) * 2,
)


@dataclass(frozen=True, slots=True)
class Step:
    """Something people do, and how many seconds pass before the next.

    Verbs: apply and delete an object, patch it; share it among owners of its kind; evict so many of the guarded pods;
    drain a node, uncordon it.
    """

    verb: str
    target: str
    tree: Mapping[str, Any] = field(default_factory=dict)
    pause_seconds: float = 0.0
    namespace: str = "default"


def preparations() -> list[Step]:
    """What there is in every seed: volumes, a quota, and pods that a budget guards and nobody else touches."""
    guarded = _deployment("guarded", GUARDED_REPLICAS, "one:0", {"guarded": "yes"})
    # Nodes that are cut off do not lose them: only evictions make them fewer.
    guarded["spec"]["template"]["spec"]["tolerations"] = [{"operator": "Exists", "effect": "NoExecute"}]
    guard = {"selector": {"matchLabels": {"guarded": "yes"}}, "minAvailable": GUARDED_MINIMUM}
    quota = {"hard": {"pods": str(LIMITED_PODS), "count/jobs.batch": "2"}}
    trees = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "limited"}},
        guarded,
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "guard"}, "spec": guard},
        *(_volume(f"kept-{number}", "kept") for number in range(3)),
        *(_volume(f"given-{number}", "given") for number in range(30)),
    ]
    limits = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "pods"}, "spec": quota}
    trees += [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}} for name in ("stays", "goes")]
    made = [Step("apply", f"{tree['kind'].lower()}/{tree['metadata']['name']}", tree) for tree in trees]
    made.append(Step("apply", "daemonset/surging", _surging("one:0")))
    made.append(Step("share", "configmap/shared", {"owners": ["stays", "goes"]}))
    return [*made, Step("apply", "resourcequota/pods", limits, 30.0, "limited")]


def steps(seed: int) -> list[Step]:
    """What is done to the cluster."""
    chance = random.Random(f"steps {seed}")
    made: dict[str, Step] = {}
    result: list[Step] = []
    for _ in range(_STEPS):
        pause = chance.choice((0.0, 0.3, 2.0, 15.0))
        if made and chance.random() < 0.2:
            target = chance.choice(sorted(made))
            namespace = made.pop(target).namespace
            policy = chance.choice(("Background", "Background", "Foreground"))
            result.append(Step("delete", target, {"policy": policy}, pause, namespace))
        else:
            result += _chosen(chance.choice(_KINDS), made, pause, chance)
    # In the midst of it a DaemonSet surges, and one of the two owners of an object goes: it must stay with the other.
    result.insert(len(result) // 2, Step("delete", "configmap/goes", {"policy": "Background"}))
    result.insert(len(result) // 2, Step("apply", "daemonset/surging", _surging("one:1"), 2.0))
    result += [Step("uncordon", f"node/node-{number}") for number in range(NODES)]
    # A Job that waits would never end.
    result += [_resumed(step) for step in made.values() if step.tree["spec"].get("suspend") is True]
    return result


def _chosen(kind: str, made: dict[str, Step], pause: float, chance: random.Random) -> list[Step]:
    """What is done of that kind; what is to be deleted later is put down in `made`."""
    name = chance.choice(_NAMES)
    match kind:
        case "evict":
            return [Step("evict", "", {"pods": chance.randint(1, GUARDED_REPLICAS)}, pause)]
        case "drain":
            node = f"node/node-{chance.randrange(NODES)}"
            return [Step(chance.choice(("drain", "drain", "uncordon")), node, {}, pause)]
        case "namespace":
            return _passing(f"passing-{name}", chance.choice((0.0, 0.3, 5.0)), pause)
        case "limited":
            if chance.random() < 0.5:
                tree = _job(f"limited-{name}", chance) | {"spec": _job_spec(chance, number=chance.randint(3, 9))}
            else:
                tree = _deployment(f"limited-{name}", chance.randrange(9), "one:0", {"limited": name})
            step = Step("apply", f"{tree['kind'].lower()}/limited-{name}", tree, pause, "limited")
        case "autoscaler":
            # It is never changed nor deleted: how far it had come until then would be chance.
            return [Step("apply", "horizontalpodautoscaler/b", _autoscaler(), pause)]
        case _:
            tree = _workload(kind, name, chance)
            step = Step("apply", f"{tree['kind'].lower()}/{tree['metadata']['name']}", tree, pause)
    known = made.get(step.target)
    # The fields of a Job that may change are few: one that exists is left alone, or goes on.
    if step.target.startswith("job/") and known is not None:
        if known.tree["spec"].get("suspend") is True:
            made[step.target] = known_resumed = _resumed(known)
            return [known_resumed]
        return []
    made[step.target] = step
    return [step]


def _resumed(step: Step) -> Step:
    return Step("patch", step.target, {"spec": {"suspend": False}}, 1.0, step.namespace)


def _passing(name: str, life_seconds: float, pause: float) -> list[Step]:
    """A namespace that is made, used and deleted."""
    own = {"metadata": {"name": "one", "namespace": name}}
    return [
        Step("apply", f"namespace/{name}", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, 0.3),
        Step("apply", "configmap/one", {"apiVersion": "v1", "kind": "ConfigMap", **own}, 0.0, name),
        Step("apply", "service/one", {"apiVersion": "v1", "kind": "Service", **own, "spec": _ports()}, 0.0, name),
        Step("apply", "deployment/p", _deployment("p", 2, "one:0", {"passing": name}), life_seconds, name),
        Step("delete", f"namespace/{name}", {"policy": "Background"}, pause, ""),
    ]


def _workload(kind: str, name: str, chance: random.Random) -> dict[str, Any]:
    spec: dict[str, Any]
    labels = {"kind": kind, "name": name}
    image = f"one:{chance.randrange(3)}"
    match kind:
        case "deployment":
            return _deployment(name, chance.randrange(7), image, labels)
        case "statefulset":
            return _statefulset(name, chance, image, labels)
        case "daemonset":
            spec = {"selector": {"matchLabels": labels}, "template": _template(image, labels)}
            if name == "b":
                spec["updateStrategy"] = {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
                }
            return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": name}, "spec": spec}
        case "job":
            return _job(name, chance)
        case "service":
            spec = _ports() | {"selector": {"kind": chance.choice(("deployment", "statefulset")), "name": name}}
            return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
        case "budget":
            spec = {"selector": {"matchLabels": {"kind": "statefulset", "name": name}}, "maxUnavailable": 1}
            return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name}, "spec": spec}
        case _:
            return _cronjob(name, chance, image, labels)


def _deployment(name: str, replicas: int, image: str, labels: Mapping[str, str]) -> dict[str, Any]:
    strategy: dict[str, Any] = {"type": "Recreate" if name == "c" else "RollingUpdate"}
    if name == "b":
        strategy["rollingUpdate"] = {"maxSurge": 2, "maxUnavailable": 0}
    spec = {
        "replicas": replicas,
        "strategy": strategy,
        "selector": {"matchLabels": labels},
        "template": _template(image, labels),
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def _surging(image: str) -> dict[str, Any]:
    labels = {"surging": "yes"}
    update = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    spec = {"selector": {"matchLabels": labels}, "template": _template(image, labels), "updateStrategy": update}
    return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "surging"}, "spec": spec}


def _statefulset(name: str, chance: random.Random, image: str, labels: Mapping[str, str]) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "replicas": chance.randrange(4),
        "serviceName": "s",
        "podManagementPolicy": {"a": "OrderedReady", "b": "Parallel", "c": "OrderedReady"}[name],
        "selector": {"matchLabels": labels},
        "template": _template(image, labels),
    }
    if name != "a":
        # Claims of b go with their pods, those of c stay for the next ones.
        when = "Delete" if name == "b" else "Retain"
        spec["persistentVolumeClaimRetentionPolicy"] = {"whenDeleted": when, "whenScaled": when}
        claim = {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "given" if name == "b" else "kept",
            "resources": {"requests": {"storage": "1Gi"}},
        }
        spec["volumeClaimTemplates"] = [{"metadata": {"name": "data"}, "spec": claim}]
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name}, "spec": spec}


def _job(name: str, chance: random.Random) -> dict[str, Any]:
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": _job_spec(chance)}


def _job_spec(chance: random.Random, number: int = 0) -> dict[str, Any]:
    number = number or chance.randint(1, 6)
    # Pods that are lost with a node count as failed: how many that are must not decide how a Job ends.
    spec: dict[str, Any] = {"completions": number, "parallelism": chance.randint(1, 3), "backoffLimit": 30}
    spec["completionMode"] = chance.choice(("Indexed", "NonIndexed"))
    spec["suspend"] = chance.random() < 0.2
    template = _template("one:0", {"worker": "yes"})
    template["spec"]["restartPolicy"] = "Never"
    spec["template"] = template
    match chance.choice(("well", "well", "well", "fails", "forbidden", "by index", "short-lived")):
        case "fails":
            spec |= {"backoffLimit": 2}
            _ends_with(template, 1)
        case "forbidden":
            rule = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}
            spec["podFailurePolicy"] = {"rules": [rule]}
            _ends_with(template, 42)
        case "by index":
            spec |= {"completionMode": "Indexed", "backoffLimitPerIndex": 0}
            _ends_with(template, 1)
        case "short-lived":
            spec["ttlSecondsAfterFinished"] = 30
        case _:
            pass
    return spec


def _ends_with(template: dict[str, Any], code: int) -> None:
    template["metadata"]["annotations"] = {"simulated.keelback.dev/exit-code": str(code)}


def _cronjob(name: str, chance: random.Random, image: str, labels: Mapping[str, str]) -> dict[str, Any]:
    template = _template(image, labels)
    template["spec"]["restartPolicy"] = "Never"
    spec = {
        "schedule": "*/2 * * * *",
        "concurrencyPolicy": chance.choice(("Allow", "Forbid", "Replace")),
        "jobTemplate": {"spec": {"template": template}},
    }
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name}, "spec": spec}


def _autoscaler() -> dict[str, Any]:
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "b"},
        "minReplicas": 2,
        "maxReplicas": 4,
    }
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "b"},
        "spec": spec,
    }


def _template(image: str, labels: Mapping[str, str]) -> dict[str, Any]:
    return {"metadata": {"labels": dict(labels)}, "spec": {"containers": [{"name": "c", "image": image}]}}


def _ports() -> dict[str, Any]:
    return {"ports": [{"port": 80}]}


def _volume(name: str, storage_class: str) -> dict[str, Any]:
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": storage_class,
        "persistentVolumeReclaimPolicy": "Retain",
        "hostPath": {"path": f"/{name}"},
    }
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}
