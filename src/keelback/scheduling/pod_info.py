"""What scheduling reads of a pod, compiled once for all pods of one shape.

Pods of a ReplicaSet differ in name and uid alone: they share one `PodInfo`, and so one evaluation of all nodes.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from keelback.api.core_v1 import (
    Affinity,
    PodAffinityTerm,
    Toleration,
    TopologySpreadConstraint,
    WeightedPodAffinityTerm,
)
from keelback.apimachinery import meta
from keelback.scheduling import extended_resources, label_selectors, resources
from keelback.scheduling.csi_migration import InTree
from keelback.scheduling.extended_resources import ContainerDemand
from keelback.scheduling.label_selectors import Requirement, Selector
from keelback.scheduling.pod_to_place import (
    PodToPlace,
    SpecToPlace,
    claims_of,
    disks_of,
    effective_spec,
    in_tree_of,
    required_features,
)


@dataclass(frozen=True, slots=True)
class PodMatcher:
    """Picks pods: by namespace (named, or by the namespace's labels) and by their own labels."""

    namespaces: frozenset[str]
    selector: Selector
    namespace_selector: Selector = None

    def picks(self, namespace: str, labels: Mapping[str, str], namespace_labels: Mapping[str, str]) -> bool:
        """Whether it picks a pod with these labels in this namespace."""
        return (
            namespace in self.namespaces or label_selectors.picks(self.namespace_selector, namespace_labels)
        ) and label_selectors.picks(self.selector, labels)


@dataclass(frozen=True, slots=True)
class AffinityTerm:
    """One term of inter-pod affinity or anti-affinity."""

    topology_key: str
    matcher: PodMatcher


@dataclass(frozen=True, slots=True)
class SpreadConstraint:
    """One topology spread constraint, its defaults filled in."""

    topology_key: str
    max_skew: int
    selector: Selector
    min_domains: int = 1
    honors_affinity: bool = True
    honors_taints: bool = False


@dataclass(frozen=True, slots=True)
class Owner:
    """The controller that a pod belongs to."""

    api_version: str
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class PodClaim:
    """One of a pod's claims for devices."""

    claim: str | None
    """Its name; empty where none is needed, None where it is not made yet."""
    is_generated: bool
    """It was made for this pod, from a template."""


@dataclass(frozen=True, slots=True)
class PodDevices:
    """Who a pod is, and which claims for devices it uses."""

    uid: str
    name: str
    claims: tuple[PodClaim, ...]


@dataclass(frozen=True, slots=True, eq=False)
class PodInfo:
    """The shape of a pod. Compared by identity: whoever compiles pods sees to it that alike ones share it."""

    namespace: str
    labels: Mapping[str, str]
    owner: Owner | None
    priority: int
    never_preempts: bool
    scheduler_name: str
    gates: tuple[str, ...]
    node_name: str
    """The node the pod insists on; empty for any."""
    requests: Mapping[str, int]
    nominal_requests: Mapping[str, int]
    """Requests with a nominal amount of cpu and memory for each container that names none: for scoring."""
    tolerations: tuple[Toleration, ...]
    node_selector: Mapping[str, str]
    affinity: Affinity | None
    host_ports: tuple[tuple[str, str, int], ...]
    """Host IP, protocol and port."""
    images: tuple[str, ...]
    spread_required: tuple[SpreadConstraint, ...]
    spread_preferred: tuple[SpreadConstraint, ...]
    has_spread: bool
    affinity_required: tuple[AffinityTerm, ...]
    anti_affinity_required: tuple[AffinityTerm, ...]
    affinity_preferred: tuple[tuple[int, AffinityTerm], ...]
    """Each with its weight, which is negative for anti-affinity."""
    claims: tuple[str, ...]
    in_tree: tuple[InTree, ...]
    """Disks that the pod names itself, as CSI drivers know them."""
    disks: tuple[tuple[tuple[str, ...], bool], ...]
    """Disks that the pod names itself and cannot share; with whether it only reads."""
    required_features: frozenset[str] = frozenset()
    """What a node must declare for the pod."""
    pod_group: str = ""
    """The name of the PodGroup it belongs to."""
    extended: tuple[ContainerDemand, ...] = ()
    """What its containers ask for that devices might stand for."""
    devices: PodDevices | None = None
    """Its claims for devices."""
    shared: PodInfo | None = None
    """The shape without its claims for volumes and devices, which are mostly a pod's own."""

    @property
    def shape(self) -> PodInfo:
        """What it has in common with alike pods: all that has nothing to do with its claims."""
        return self.shared or self

    @property
    def group(self) -> tuple[str, frozenset[tuple[str, str]]]:
        """What selectors can tell this pod from others by."""
        return self.namespace, frozenset(self.labels.items())


_Key: TypeAlias = "bytes | tuple[bytes, tuple[str, ...], PodDevices | None]"


class PodShapes:
    """Compiles pods, and gives the same `PodInfo` to all pods of one shape."""

    def __init__(self, capacity: int = 20_000) -> None:
        self._capacity = capacity
        self._shapes: OrderedDict[_Key, PodInfo] = OrderedDict()

    def of(self, pod: PodToPlace) -> PodInfo:
        """The pod's shape."""
        metadata, spec = pod.metadata, effective_spec(pod)
        owner = controller_of(metadata)
        claims = claims_of(pod) if spec.volumes else ()
        disks = (in_tree_of(pod), disks_of(pod)) if spec.volumes else ()
        # The node a pod is bound to and its volumes are its own; all else is its shape.
        same = msgspec.structs.replace(spec, node_name="", volumes=())
        key = msgspec.json.encode(
            (metadata.namespace, metadata.labels, owner and (owner.api_version, owner.kind, owner.name), disks, same)
        )
        shape = self._kept(key, lambda: _without_claims(pod if spec is pod.spec else meta.replace(pod, spec=spec)))
        if not claims and not spec.resource_claims:
            return shape
        devices = devices_of(pod) if spec.resource_claims else None
        return self._kept(
            (key, claims, devices), lambda: dataclasses.replace(shape, claims=claims, devices=devices, shared=shape)
        )

    def _kept(self, key: _Key, make: Callable[[], PodInfo]) -> PodInfo:
        info = self._shapes.get(key)
        if info is None:
            info = self._shapes[key] = make()
            if len(self._shapes) > self._capacity:
                self._shapes.popitem(last=False)
        return info


def _without_claims(pod: PodToPlace) -> PodInfo:
    info = compile_pod(pod)
    return dataclasses.replace(info, claims=()) if info.claims else info


def devices_of(pod: PodToPlace) -> PodDevices:
    """Who the pod is, and which claims for devices it uses: those of templates are named in its status."""
    made = {one.name: one.resource_claim_name or "" for one in pod.status.resource_claim_statuses}
    return PodDevices(
        pod.metadata.uid,
        pod.metadata.name,
        tuple(
            PodClaim(one.resource_claim_name, is_generated=False)
            if one.resource_claim_name
            else PodClaim(made.get(one.name), is_generated=True)
            for one in pod.spec.resource_claims
        ),
    )


def controller_of(metadata: meta.ObjectMeta) -> Owner | None:
    """The owner that controls the object."""
    for reference in metadata.owner_references:
        if reference.controller:
            return Owner(reference.api_version, reference.kind, reference.name)
    return None


def compile_pod(pod: PodToPlace, node_name: str = "") -> PodInfo:
    """What scheduling reads of the pod; `node_name` for a pod that insists on a node."""
    metadata, spec = pod.metadata, pod.spec
    namespace, labels, affinity = metadata.namespace, metadata.labels, spec.affinity
    together = affinity.pod_affinity if affinity else None
    apart = affinity.pod_anti_affinity if affinity else None

    def requests(when_missing: Mapping[str, int]) -> dict[str, int]:
        return resources.pod_requests(
            spec.containers, spec.init_containers, spec.resources, spec.overhead, when_missing
        )

    def required(terms: tuple[PodAffinityTerm, ...]) -> tuple[AffinityTerm, ...]:
        return tuple(_affinity_term(term, namespace, labels) for term in terms)

    def preferred(terms: tuple[WeightedPodAffinityTerm, ...], sign: int) -> tuple[tuple[int, AffinityTerm], ...]:
        return tuple((sign * term.weight, _affinity_term(term.pod_affinity_term, namespace, labels)) for term in terms)

    def spread(action: str) -> tuple[SpreadConstraint, ...]:
        return tuple(
            _spread_constraint(constraint, labels)
            for constraint in spec.topology_spread_constraints
            if constraint.when_unsatisfiable == action
        )

    return PodInfo(
        namespace=namespace,
        labels=labels,
        owner=controller_of(metadata),
        priority=spec.priority or 0,
        never_preempts=spec.preemption_policy == "Never",
        scheduler_name=spec.scheduler_name,
        gates=tuple(gate.name for gate in spec.scheduling_gates),
        node_name=node_name,
        requests={name: number for name, number in requests({}).items() if number},
        nominal_requests={**dict.fromkeys(resources.NOMINAL, 0), **requests(resources.NOMINAL)},
        tolerations=spec.tolerations,
        node_selector=spec.node_selector,
        affinity=affinity,
        host_ports=_host_ports(spec),
        images=tuple(container.image for container in (*spec.init_containers, *spec.containers)),
        spread_required=spread("DoNotSchedule"),
        spread_preferred=spread("ScheduleAnyway"),
        has_spread=bool(spec.topology_spread_constraints),
        affinity_required=required(together.required_during_scheduling_ignored_during_execution if together else ()),
        anti_affinity_required=required(apart.required_during_scheduling_ignored_during_execution if apart else ()),
        affinity_preferred=(
            *preferred(together.preferred_during_scheduling_ignored_during_execution if together else (), 1),
            *preferred(apart.preferred_during_scheduling_ignored_during_execution if apart else (), -1),
        ),
        claims=claims_of(pod),
        in_tree=in_tree_of(pod),
        disks=disks_of(pod),
        required_features=required_features(spec),
        pod_group=spec.scheduling_group.pod_group_name if spec.scheduling_group is not None else "",
        extended=extended_resources.demands(spec.init_containers, spec.containers),
    )


def _host_ports(spec: SpecToPlace) -> tuple[tuple[str, str, int], ...]:
    sidecars = (container for container in spec.init_containers if container.restart_policy == "Always")
    return tuple(
        (port.host_ip or "0.0.0.0", port.protocol or "TCP", port.host_port)  # noqa: S104 - the API's word for any
        for container in (*spec.containers, *sidecars)
        for port in container.ports
        if port.host_port > 0
    )


def _affinity_term(term: PodAffinityTerm, namespace: str, labels: Mapping[str, str]) -> AffinityTerm:
    selector = label_selectors.compile_selector(term.label_selector)
    if selector is not None:
        # The API server writes these keys into the selector too; a requirement said twice changes nothing.
        selector += _label_keys(term.match_label_keys, "In", labels, selector)
        selector += _label_keys(term.mismatch_label_keys, "NotIn", labels, selector)
    namespaces = frozenset(term.namespaces)
    if not namespaces and term.namespace_selector is None:
        namespaces = frozenset((namespace,))
    return AffinityTerm(
        topology_key=term.topology_key,
        matcher=PodMatcher(namespaces, selector, label_selectors.compile_selector(term.namespace_selector)),
    )


def _spread_constraint(constraint: TopologySpreadConstraint, labels: Mapping[str, str]) -> SpreadConstraint:
    selector = label_selectors.compile_selector(constraint.label_selector)
    if selector is not None:
        selector += _label_keys(constraint.match_label_keys, "In", labels, selector)
    return SpreadConstraint(
        topology_key=constraint.topology_key,
        max_skew=constraint.max_skew,
        selector=selector,
        min_domains=1 if constraint.min_domains is None else constraint.min_domains,
        honors_affinity=constraint.node_affinity_policy in (None, "Honor"),
        honors_taints=constraint.node_taints_policy == "Honor",
    )


def _label_keys(
    keys: tuple[str, ...], operator: str, labels: Mapping[str, str], known: tuple[Requirement, ...]
) -> tuple[Requirement, ...]:
    wanted = (Requirement(key, operator, (labels[key],)) for key in keys if key in labels)
    return tuple(requirement for requirement in wanted if requirement not in known)
