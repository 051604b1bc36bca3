"""What Kubernetes' scheduler_perf suite has placed, and where: its nodes, pods, volumes and churn, of its own sizes.

Nodes have 4 CPUs, 32Gi and 110 pods; pods ask for 100m and 500Mi unless said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

ZONE = "topology.kubernetes.io/zone"
HOST = "kubernetes.io/hostname"
CSI_DRIVER = "ebs.csi.aws.com"

Tree = dict[str, Any]
Make = Callable[[int], Tree]


def node(number: int, zones: Sequence[str] = ("zone-0", "zone-1", "zone-2"), **capacity: str) -> Tree:
    amounts = {"cpu": "4", "memory": "32Gi", "pods": "110", **capacity}
    labels = {HOST: f"node-{number}", ZONE: zones[number % len(zones)]}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
    status = {"capacity": amounts, "allocatable": amounts, "conditions": [ready]}
    metadata = {"name": f"node-{number}", "labels": labels}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": status}


def in_one_zone(number: int) -> Tree:
    return node(number, ("zone-0",))


def roomy(number: int) -> Tree:
    """The only node of some workloads: it has room for everything."""
    return {**node(number, cpu="90000", memory="900Ti", pods="90000")}


def with_limits(number: int) -> Tree:
    """What a CSI driver's registration says of a node, beside the node."""
    drivers = [{"name": CSI_DRIVER, "nodeID": f"node-{number}", "allocatable": {"count": 39}}]
    metadata = {"name": f"node-{number}"}
    return {"apiVersion": "storage.k8s.io/v1", "kind": "CSINode", "metadata": metadata, "spec": {"drivers": drivers}}


def pod(number: int, prefix: str = "pod", namespace: str = "default", **more: Any) -> Tree:
    labels = more.pop("labels", {"app": "bench"})
    requests = more.pop("requests", {"cpu": "100m", "memory": "500Mi"})
    container = {"name": "main", "image": "registry.example/pause:1", "resources": {"requests": requests}}
    metadata = {"name": f"{prefix}-{number}", "namespace": namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container], **more}}


def colored(number: int, color: str, how: str, key: str, namespace: str, **term: Any) -> Tree:
    """A pod that wants, or does not want, pods of its color near; `how` says which and how much."""
    wanted = {"labelSelector": {"matchLabels": {"color": color}}, "topologyKey": key, **term}
    kind, _, strength = how.partition(" ")
    rule = (
        {"requiredDuringSchedulingIgnoredDuringExecution": [wanted]}
        if strength == "required"
        else {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": wanted}]}
    )
    return pod(number, color, namespace, labels={"color": color}, affinity={kind: rule})


def near(strength: str, namespace: str) -> Make:
    color, key = ("blue", ZONE) if strength == "required" else ("red", HOST)
    return lambda number: colored(number, color, f"podAffinity {strength}", key, namespace)


def apart(strength: str, namespace: str) -> Make:
    color = "green" if strength == "required" else "yellow"
    return lambda number: colored(number, color, f"podAntiAffinity {strength}", HOST, namespace)


def across_namespaces(how: str, key: str, measured: bool = False) -> Make:
    """A pod whose rule is about pods of all namespaces with a label. Those that are there first are of a hundred."""
    selector = {"matchLabels": {"team": "devops"}}

    def make(number: int) -> Tree:
        namespace = "measure-ns-0" if measured else f"init-ns-{number % 100}"
        return colored(number, "teal", how, key, namespace, namespaceSelector=selector)

    return make


def spread(when: str) -> Make:
    constraint = {"maxSkew": 5, "topologyKey": ZONE, "whenUnsatisfiable": when}
    constraint["labelSelector"] = {"matchLabels": {"color": "blue"}}
    return lambda number: pod(number, "spread", labels={"color": "blue"}, topologySpreadConstraints=[constraint])


def in_zones(number: int) -> Tree:
    term = {"matchExpressions": [{"key": ZONE, "operator": "In", "values": ["zone-0", "zone-9"]}]}
    required = {"nodeSelectorTerms": [term]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    return pod(number, "zonal", affinity=affinity)


def pinned(name: Callable[[int], str]) -> Make:
    """As the daemon set controller pins a pod to a node."""

    def make(number: int) -> Tree:
        term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name(number)]}]}
        required = {"nodeSelectorTerms": [term]}
        affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
        return pod(number, "daemon", affinity=affinity)

    return make


def with_secret(number: int) -> Tree:
    made = pod(number, "secretive", volumes=[{"name": "secret", "secret": {"secretName": "secret"}}])
    made["spec"]["containers"][0]["volumeMounts"] = [{"name": "secret", "mountPath": "/etc/secret"}]
    return made


def with_claim(number: int) -> Tree:
    return pod(number, "stateful", volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": f"c-{number}"}}])


def bound_volume(number: int, source: Tree) -> list[Tree]:
    """A volume and a claim that are bound to each other, as the volume controller leaves them."""
    claim = {"kind": "PersistentVolumeClaim", "namespace": "default", "name": f"c-{number}", "apiVersion": "v1"}
    size, modes = {"storage": "1Gi"}, ["ReadOnlyMany"]
    done = {"pv.kubernetes.io/bind-completed": "true"}
    volume_spec = {"accessModes": modes, "capacity": size, "claimRef": claim, **source}
    claim_spec = {"accessModes": modes, "resources": {"requests": size}, "volumeName": f"v-{number}"}
    claim_spec["storageClassName"] = ""
    return [
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"v-{number}"}, "spec": volume_spec},
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": f"c-{number}", "namespace": "default", "annotations": done},
            "spec": claim_spec,
        },
    ]


def large(number: int) -> Tree:
    """Larger than any node, and more important than any pod."""
    return pod(number, "large", requests={"cpu": "9", "memory": "500Mi"}, priorityClassName="high")


def gated(number: int) -> Tree:
    return pod(number, "gated", schedulingGates=[{"name": "bench.example/wait"}])


def gated_near(number: int) -> Tree:
    """Gated, and wanting a neighbour that each of the measured pods is."""
    made = near(REQUIRED, "default")(number)
    made["spec"]["schedulingGates"] = [{"name": "bench.example/wait"}]
    return made


def blue(number: int) -> Tree:
    return pod(number, "blue", labels={"color": "blue"})


def light(number: int) -> Tree:
    return pod(number, "light", requests={})


def low(number: int) -> Tree:
    # There are no kubelets: what is preempted must be gone at once.
    return pod(number, "low", requests={"cpu": "900m", "memory": "500Mi"}, terminationGracePeriodSeconds=0)


def high(number: int) -> Tree:
    return pod(number, "high", requests={"cpu": "3000m", "memory": "500Mi"}, priorityClassName="high")


def in_zone_of_its_own(number: int) -> Tree:
    return node(number, ("churn",))


def service(number: int) -> Tree:
    metadata = {"name": f"service-{number}", "namespace": "default"}
    spec = {"selector": {"app": "churn"}, "ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def namespaces(count: int) -> Iterator[Tree]:
    named = [f"team-{number}" for number in range(2)] if count == 2 else ["measure-ns-0"]
    for name in [*named, *(f"init-ns-{number}" for number in range(count if count > 2 else 0))]:
        metadata = {"name": name, "labels": {"team": "devops"}}
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


@dataclass(frozen=True)
class Churn:
    """What comes meanwhile, one of each at a time; where `recreates`, each goes again when the next comes."""

    makes: tuple[Make, ...]
    seconds: float
    recreates: bool = False


@dataclass(frozen=True)
class Workload:
    """`aim` is what this project wants to reach, `original` what kube-scheduler's own CI demands, in pods a second."""

    name: str
    nodes: int
    first: int
    """Pods that are there and bound before anything is measured."""
    measured: int
    aim: int
    original: str
    first_pod: Make = pod
    measured_pod: Make = pod
    node: Make = node
    before: Callable[[int], Iterator[Tree]] = lambda pods: iter(())
    """What else there must be, given how many pods there will be in all."""
    held: Make | None = None
    """Pods that wait for ever meanwhile: half as many as are measured, or as many where `node` has the room."""
    churn: Churn | None = None
    deletes: Make | None = None
    """Pods that are there and bound first, as many as are measured, and are deleted at fifty a second meanwhile."""
    controllers: tuple[str, ...] = ()
    """What else works for the pods, beside the scheduler."""


def high_class(pods: int) -> Iterator[Tree]:
    meta = {"name": "high"}
    yield {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": meta, "value": 1000}


def secret(pods: int) -> Iterator[Tree]:
    yield {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "secret", "namespace": "default"}}


def disks(pods: int) -> Iterator[Tree]:
    for number in range(pods):
        yield from bound_volume(number, {"awsElasticBlockStore": {"volumeID": f"vol-{number}"}})


def csi_volumes(pods: int) -> Iterator[Tree]:
    yield from map(with_limits, range(pods // 2))
    for number in range(pods):
        yield from bound_volume(number, {"csi": {"driver": CSI_DRIVER, "volumeHandle": f"vol-{number}"}})


REQUIRED, PREFERRED = "required", "preferred"
DRIVER, DEVICES = "test-driver.cdi.k8s.io", "resource.k8s.io/v1"


def with_device(number: int) -> Tree:
    """A pod with a claim that is made for it from a template: the controller is part of what is measured."""
    claim = {"name": "resource", "resourceClaimTemplateName": "test-claim-template"}
    made = pod(number, "claiming", resourceClaims=[claim])
    made["spec"]["containers"][0]["resources"] = {"claims": [{"name": "resource"}]}
    return made


def ten_devices_on_each(pods: int) -> Iterator[Tree]:
    """A class, a template, and as many nodes' slices as are full when all pods run."""
    selectors = [{"cel": {"expression": f'device.driver == "{DRIVER}"'}}]
    yield {
        "apiVersion": DEVICES,
        "kind": "DeviceClass",
        "metadata": {"name": "test-class"},
        "spec": {"selectors": selectors},
    }
    asked = {"name": "req-0", "exactly": {"deviceClassName": "test-class"}}
    template = {"name": "test-claim-template", "namespace": "default"}
    spec = {"spec": {"devices": {"requests": [asked]}}}
    yield {"apiVersion": DEVICES, "kind": "ResourceClaimTemplate", "metadata": template, "spec": spec}
    for number in range(-(-pods // 10)):
        pool = {"name": f"node-{number}", "generation": 1, "resourceSliceCount": 1}
        offered: Tree = {"driver": DRIVER, "nodeName": f"node-{number}", "pool": pool}
        offered["devices"] = [{"name": f"device-{one}"} for one in range(10)]
        metadata = {"name": f"slice-{number}"}
        yield {"apiVersion": DEVICES, "kind": "ResourceSlice", "metadata": metadata, "spec": offered}


ANTI, TOGETHER = "podAntiAffinity", "podAffinity"
WORKLOADS = (
    Workload("SchedulingBasic", 5000, 1000, 10000, 1500, "270"),
    Workload("SchedulingNodeAffinity", 5000, 5000, 10000, 1500, "220", in_zones, in_zones, in_one_zone),
    # All to one node of 15,001, as upstream; and two to each, as daemon sets really are.
    Workload("SchedulingDaemonset", 15000, 0, 30000, 1000, "390", measured_pod=pinned(lambda number: "node-roomy")),
    Workload("DaemonOnEachNode", 15000, 0, 30000, 1000, "", measured_pod=pinned(lambda number: f"node-{number // 2}")),
    Workload(
        "SchedulingPodAntiAffinity",
        5000,
        1000,
        2000,
        800,
        "60",
        apart(REQUIRED, "team-1"),
        apart(REQUIRED, "team-0"),
        before=lambda pods: namespaces(2),
    ),
    Workload(
        "SchedulingPodAffinity",
        5000,
        5000,
        5000,
        800,
        "35",
        near(REQUIRED, "team-0"),
        near(REQUIRED, "team-1"),
        in_one_zone,
        lambda pods: namespaces(2),
    ),
    Workload(
        "SchedulingPreferredPodAffinity",
        5000,
        5000,
        5000,
        800,
        "90",
        near(PREFERRED, "team-0"),
        near(PREFERRED, "team-1"),
        before=lambda pods: namespaces(2),
    ),
    Workload(
        "SchedulingPreferredPodAntiAffinity",
        5000,
        5000,
        5000,
        800,
        "90",
        apart(PREFERRED, "team-0"),
        apart(PREFERRED, "team-1"),
        before=lambda pods: namespaces(2),
    ),
    Workload("TopologySpreading", 5000, 5000, 5000, 800, "85", measured_pod=spread("DoNotSchedule")),
    Workload("PreferredTopologySpreading", 5000, 5000, 5000, 800, "125", measured_pod=spread("ScheduleAnyway")),
    Workload(
        "SchedulingRequiredPodAntiAffinityWithNSSelector",
        6000,
        4000,
        2000,
        400,
        "24",
        across_namespaces(f"{ANTI} {REQUIRED}", HOST),
        across_namespaces(f"{ANTI} {REQUIRED}", HOST, measured=True),
        before=lambda pods: namespaces(100),
    ),
    Workload(
        "SchedulingPreferredAntiAffinityWithNSSelector",
        5000,
        4000,
        2000,
        400,
        "55",
        across_namespaces(f"{ANTI} {PREFERRED}", HOST),
        across_namespaces(f"{ANTI} {PREFERRED}", HOST, measured=True),
        before=lambda pods: namespaces(100),
    ),
    Workload(
        "SchedulingRequiredPodAffinityWithNSSelector",
        5000,
        5000,
        2000,
        400,
        "35",
        across_namespaces(f"{TOGETHER} {REQUIRED}", ZONE),
        across_namespaces(f"{TOGETHER} {REQUIRED}", ZONE, measured=True),
        in_one_zone,
        lambda pods: namespaces(100),
    ),
    Workload(
        "SchedulingPreferredAffinityWithNSSelector",
        5000,
        5000,
        5000,
        400,
        "90",
        across_namespaces(f"{TOGETHER} {PREFERRED}", HOST),
        across_namespaces(f"{TOGETHER} {PREFERRED}", HOST, measured=True),
        before=lambda pods: namespaces(100),
    ),
    Workload("Unschedulable", 5000, 100, 10000, 1000, "140", before=high_class, churn=Churn((large,), 0.2)),
    # Not upstream's: the pods that fit nowhere are there all at once.
    Workload("UnschedulableHeld", 5000, 0, 10000, 1000, "", before=high_class, held=large),
    Workload(
        "SchedulingWithMixedChurn",
        5000,
        0,
        10000,
        1000,
        "265",
        before=high_class,
        churn=Churn((in_zone_of_its_own, large, service), 1.0, recreates=True),
    ),
    # Ordinary pods beside five a second that preempt three each, as upstream; and every pod one that preempts.
    Workload("PreemptionAsync", 5000, 20000, 5000, 600, "160", low, before=high_class, churn=Churn((high,), 0.2)),
    Workload("PreemptionBasic", 500, 2000, 500, 0, "18", low, high, before=high_class),
    Workload("PreemptionOfEveryNode", 5000, 20000, 5000, 0, "", low, high, before=high_class),
    Workload(
        "SchedulingWithResourceClaimTemplate",
        500,
        2500,
        2500,
        200,
        "40",
        with_device,
        with_device,
        before=ten_devices_on_each,
        controllers=("resourceclaim-controller",),
    ),
    Workload("SchedulingSecrets", 5000, 5000, 5000, 600, "260", with_secret, with_secret, before=secret),
    Workload("SchedulingInTreePVs", 5000, 1000, 2000, 600, "90", with_claim, with_claim, before=disks),
    Workload("SchedulingCSIPVs", 5000, 5000, 5000, 600, "48", with_claim, with_claim, before=csi_volumes),
    Workload(
        "SchedulingGatedPodsWithPodAffinity", 1, 0, 20000, 1000, "110", measured_pod=blue, node=roomy, held=gated_near
    ),
    Workload(
        "SchedulingWhileGated", 1, 0, 20000, 1000, "130", measured_pod=light, node=roomy, held=gated, deletes=light
    ),
)
