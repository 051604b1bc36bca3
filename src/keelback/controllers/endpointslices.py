"""The endpointslice controller: the addresses behind a Service, a hundred to a slice, changed as little as possible."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import ClassVar, TypeAlias

from keelback.api import nodes, owners, pods
from keelback.api.core_v1 import Service
from keelback.api.discovery_v1 import (
    Endpoint,
    EndpointConditions,
    EndpointHints,
    EndpointPort,
    EndpointSlice,
    ForNode,
    ForZone,
)
from keelback.apimachinery import errors
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.client import MergePatch
from keelback.controllers import pod_endpoints, slice_metrics, topology_hints, trigger_times
from keelback.controllers.endpoint_pace import Pace
from keelback.controllers.observed import NodeView, PodView
from keelback.controllers.pod_control import is_namespace_terminating
from keelback.controllers.topology_hints import TopologyHints
from keelback.controllers.trigger_times import TriggerTimes
from keelback.reconcile import patches
from keelback.reconcile.context import Context
from keelback.reconcile.loop import Source
from keelback.reconcile.result import DONE, Result, again_after

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
HEADLESS = "service.kubernetes.io/headless"
MANAGER = "endpointslice-controller.k8s.io"
_OWN_LABELS = (SERVICE_NAME, MANAGED_BY, HEADLESS)

MAX_ENDPOINTS = 100
_MISSING_NODE_SECONDS = 1.0

Ports: TypeAlias = tuple[EndpointPort, ...]
Wanted: TypeAlias = Mapping[tuple[str, Ports], Sequence[Endpoint]]
"""Endpoints by address family and the ports they share."""


@dataclass(slots=True)
class Plan:
    """Slices to make, to change to a new state, and to delete."""

    create: list[EndpointSlice] = field(default_factory=list)
    update: list[tuple[EndpointSlice, EndpointSlice]] = field(default_factory=list)
    delete: list[EndpointSlice] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether all is as it should be."""
        return not (self.create or self.update or self.delete)


def plan(service: Service, wanted: Wanted, existing: Sequence[EndpointSlice], most: int = MAX_ENDPOINTS) -> Plan:
    """Keep each endpoint in the slice that has it, fill free places next, and make slices last.

    A Service that is being deleted gets no new ones: the garbage collector is about to delete those it has. It does so
    with those of a Service that had the name before, too, for which reason they are of no use.
    """
    result = Plan()
    labels = slice_labels(service)
    groups: dict[tuple[str, Ports], list[EndpointSlice]] = {key: [] for key in wanted}
    for one in existing:
        key = (one.address_type, _sorted_ports(one.ports or ()))
        if key in groups and _is_of(one, service):
            groups[key].append(one)
        else:
            result.delete.append(one)
    for (family, ports), endpoints in wanted.items():
        _plan_group(result, service, family, ports, endpoints, groups[family, ports], labels, most)
    _keep_placeholders(result, service, {family for family, _ in wanted}, labels)
    if service.metadata.deletion_timestamp is not None:
        result.create.clear()
    return result


def stamped(decided: Plan, time: datetime | None) -> Plan:
    """The plan with the time of what it answers to on each slice that is written."""

    def stamp(one: EndpointSlice) -> EndpointSlice:
        annotations = trigger_times.annotated(one.metadata.annotations, time)
        return replace(one, metadata=replace(one.metadata, annotations=annotations))

    updates = [(old, stamp(new)) for old, new in decided.update]
    return Plan([stamp(one) for one in decided.create], updates, decided.delete)


def make_endpoint(pod: PodView, service: Service, family: str, zone: str) -> Endpoint:
    """The endpoint a pod is for a Service."""
    serving = pods.is_ready(pod)
    terminating = pods.is_terminating(pod)
    ready = service.spec.publish_not_ready_addresses or (serving and not terminating)
    name = pod_endpoints.hostname(pod, service)
    return Endpoint(
        addresses=(pod_endpoints.address_of_family(pod, family),),
        conditions=EndpointConditions(ready=ready, serving=serving, terminating=terminating),
        hostname=name or None,
        node_name=pod.spec.node_name or None,
        target_ref=pod_endpoints.target_reference(pod),
        zone=zone or None,
        hints=_hints(service, pod.spec.node_name, zone) if ready else None,
    )


def endpoint_ports(service: Service, pod: PodView) -> Ports:
    """The Service's ports as numbers on this pod, but for names that the pod does not have."""
    found = []
    for port in service.spec.ports:
        number = pod_endpoints.resolve_port(pod, port)
        if number is not None:
            made = EndpointPort(name=port.name, port=number, protocol=port.protocol, app_protocol=port.app_protocol)
            found.append(made)
    return _sorted_ports(found)


def slice_labels(service: Service) -> dict[str, str]:
    """The labels of a Service's slices: its own, and those by which the slices are found."""
    labels = {key: value for key, value in service.metadata.labels.items() if key not in _OWN_LABELS}
    labels |= {SERVICE_NAME: service.metadata.name, MANAGED_BY: MANAGER}
    if service.spec.cluster_ip == "None":
        labels[HEADLESS] = ""
    return labels


@dataclass(frozen=True, slots=True)
class EndpointSliceReconciler:
    """Observes pods and slices, and carries out what differs."""

    context: Context
    max_endpoints_per_slice: int = MAX_ENDPOINTS
    batch_seconds: float = 0.0
    times: TriggerTimes = field(default_factory=TriggerTimes)
    pace: Pace = field(default_factory=Pace)
    hints: TopologyHints = field(init=False)
    name: ClassVar = "endpointslice-controller"
    role: ClassVar = "endpointslice-controller"
    component: ClassVar = "endpoint-slice-controller"
    kind: ClassVar = Service
    owns: ClassVar = ()
    reads: ClassVar = (NodeView,)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hints", TopologyHints(self.context.caches))
        self.context.metrics.at_collection(slice_metrics.SERVICES, self._distributions)
        for metric, at in (
            (slice_metrics.SLICES, 0),
            (slice_metrics.DESIRED_SLICES, 1),
            (slice_metrics.DESIRED, 2),
        ):
            self.context.metrics.at_collection(metric, partial(self._held, at))

    def sources(self) -> Sequence[Source]:
        self.context.caches.index(Service, "by-namespace", lambda one: [one.metadata.namespace])
        self.context.caches.index(PodView, "by-namespace", lambda one: [one.metadata.namespace])
        self.context.caches.index(EndpointSlice, "by-service", _service_key)
        return (
            Source(PodView, self._services_of, pod_endpoints.matters, self.batch_seconds),
            Source(EndpointSlice, _service_key),
            self.hints.source(),
        )

    async def reconcile(self, service: Service) -> Result:
        if service.spec.type == "ExternalName" or not service.spec.selector:
            return DONE
        if seconds := self.pace.seconds_left(service, self.context.clock.monotonic()):
            return again_after(seconds)
        namespace = service.metadata.namespace
        selected = [
            pod
            for pod in self.context.caches.store(PodView).by_index("by-namespace", namespace)
            if pod_endpoints.selects(service.spec.selector, pod.metadata.labels)
        ]
        time = self.times.observe(service, selected)
        wanted, is_complete = self._observe(service, selected)
        key = (service.metadata.namespace, service.metadata.name)
        store = self.context.caches.index(EndpointSlice, "by-service", _service_key)
        existing = [one for one in store.by_index("by-service", key) if one.metadata.deletion_timestamp is None]
        wanted, events = self.hints.hinted(service, wanted, existing)
        decided = plan(service, wanted, existing, self.max_endpoints_per_slice)
        try:
            await self._carry_out(stamped(decided, time))
        except errors.StatusError as error:
            message = f"Error updating Endpoint Slices for Service {key[0]}/{key[1]}: {error}"
            await self.context.events.event(service, "Warning", "FailedToUpdateEndpointSlices", message)
            raise
        by_zone = topology_hints.is_enabled(service)
        slice_metrics.count_sync(self.context.metrics, service, decided, by_zone=by_zone)
        if not decided.is_empty:
            self.pace.wrote(service, sum(map(len, wanted.values())), self.context.clock.monotonic())
        for event in events:
            await self.context.events.event(service, *event)
        return DONE if is_complete else again_after(_MISSING_NODE_SECONDS)

    async def reconcile_absence(self, namespace: str, name: str) -> Result:
        self.times.forget(namespace, name)
        self.hints.forget(namespace, name)
        self.pace.forget(namespace, name)
        return DONE

    def _observe(self, service: Service, selected: Iterable[PodView]) -> tuple[Wanted, bool]:
        """The endpoints wanted; and whether all nodes were known, for the zone of an endpoint is its node's."""
        families = pod_endpoints.families(service)
        wanted: dict[tuple[str, Ports], list[Endpoint]] = {}
        is_complete = True
        for pod in selected:
            if not pod_endpoints.is_candidate(pod):
                continue
            node = self.context.caches.store(NodeView).get("", pod.spec.node_name)
            if node is None and pod.spec.node_name and not service.spec.publish_not_ready_addresses:
                is_complete = False
                continue
            ports = endpoint_ports(service, pod)
            zone = node.metadata.labels.get(nodes.ZONE, "") if node is not None else ""
            for family in families:
                if pod_endpoints.address_of_family(pod, family):
                    endpoint = make_endpoint(pod, service, family, zone)
                    wanted.setdefault((family, ports), []).append(endpoint)
        for family in families:
            if not any(held == family for held, _ in wanted):
                wanted[family, ()] = []
        return wanted, is_complete

    def _held(self, at: int) -> dict[tuple[str, ...], float]:
        slices = self.context.caches.store(EndpointSlice).list()
        own = (one for one in slices if one.metadata.labels.get(MANAGED_BY) == MANAGER)
        return {(): float(slice_metrics.held(own, self.max_endpoints_per_slice)[at])}

    def _distributions(self) -> dict[tuple[str, ...], float]:
        return slice_metrics.distributions(self.context.caches.store(Service).list())

    async def _carry_out(self, decided: Plan) -> None:
        client = self.context.client
        for one in decided.create:
            try:
                await client.create(one)
            except errors.StatusError as error:
                if not is_namespace_terminating(error):
                    raise
        for old, new in decided.update:
            changes = patches.difference(patches.tree(old), patches.tree(new))
            metadata = old.metadata
            await client.patch(EndpointSlice, metadata.name, metadata.namespace, MergePatch(changes))
        for one in decided.delete:
            await client.delete(EndpointSlice, one.metadata.name, one.metadata.namespace, uid=one.metadata.uid)

    def _services_of(self, pod: PodView) -> list[tuple[str, str]]:
        services = self.context.caches.store(Service).by_index("by-namespace", pod.metadata.namespace)
        return pod_endpoints.services_of(pod, services)


def _plan_group(
    result: Plan,
    service: Service,
    family: str,
    ports: Ports,
    endpoints: Sequence[Endpoint],
    existing: Sequence[EndpointSlice],
    labels: Mapping[str, str],
    most: int,
) -> None:
    left = {_identity(endpoint): endpoint for endpoint in endpoints}
    kept: list[tuple[EndpointSlice, list[Endpoint]]] = []
    for one in existing:
        mine = [left.pop(key) for endpoint in one.endpoints or () if (key := _identity(endpoint)) in left]
        kept.append((one, mine))
    newcomers = _placed(list(left.values()), kept, most)
    for one, mine in kept:
        new = replace(one, endpoints=tuple(mine), ports=ports, metadata=replace(one.metadata, labels=labels))
        if not mine and endpoints:
            result.delete.append(one)
        elif new != replace(one, endpoints=one.endpoints or (), ports=one.ports or ()):
            result.update.append((one, new))
    for start in range(0, len(newcomers), most):
        chunk = tuple(newcomers[start : start + most])
        result.create.append(_make_slice(service, family, ports, chunk, labels))
    if not endpoints and not existing:
        result.create.append(_make_slice(service, family, ports, (), labels))
    elif not endpoints:
        # One empty slice says that there is nobody; more would say it again.
        extra = {one.metadata.name for one, _ in kept[1:]}
        result.update = [pair for pair in result.update if pair[0].metadata.name not in extra]
        result.delete.extend(one for one, _ in kept[1:])


def _placed(
    newcomers: list[Endpoint], kept: Sequence[tuple[EndpointSlice, list[Endpoint]]], most: int
) -> list[Endpoint]:
    """Put endpoints where that costs no write of its own, the rest into one slice that has room; who needs new slices.

    As upstream: an unchanged slice is filled only if it takes all that are left, so that one is written and not many.
    """
    changed = [mine for one, mine in kept if tuple(mine) != (one.endpoints or ())]
    unchanged = [mine for one, mine in kept if tuple(mine) == (one.endpoints or ())]
    for mine in sorted(changed, key=len, reverse=True):
        room = most - len(mine)
        mine.extend(newcomers[:room])
        newcomers = newcomers[room:]
    left = len(newcomers) % most
    fitting = [mine for mine in unchanged if left and len(mine) + left <= most]
    if fitting:
        max(fitting, key=len).extend(newcomers[:left])
        newcomers = newcomers[left:]
    return newcomers


def _keep_placeholders(result: Plan, service: Service, families: set[str], labels: Mapping[str, str]) -> None:
    """Where an empty slice is wanted and one is about to be deleted, empty that one instead."""
    for index, made in enumerate(list(result.create)):
        if made.endpoints or made.ports:
            continue
        spare = next(
            (one for one in result.delete if one.address_type == made.address_type and _is_of(one, service)), None
        )
        if spare is not None:
            result.create.pop(index)
            result.delete.remove(spare)
            emptied = replace(spare, endpoints=(), ports=(), metadata=replace(spare.metadata, labels=labels))
            result.update.append((spare, emptied))
            return


def _make_slice(
    service: Service, family: str, ports: Ports, endpoints: tuple[Endpoint, ...], labels: Mapping[str, str]
) -> EndpointSlice:
    return EndpointSlice(
        metadata=ObjectMeta(
            generate_name=f"{service.metadata.name[:57]}-",
            namespace=service.metadata.namespace,
            labels=labels,
            owner_references=(owners.controller_reference(service),),
        ),
        address_type=family,
        endpoints=endpoints,
        ports=ports,
    )


def _is_of(one: EndpointSlice, service: Service) -> bool:
    return any(reference.uid == service.metadata.uid for reference in one.metadata.owner_references)


def _identity(endpoint: Endpoint) -> tuple[str, tuple[str, ...]]:
    return (endpoint.target_ref.uid if endpoint.target_ref is not None else "", tuple(endpoint.addresses))


def _sorted_ports(ports: Sequence[EndpointPort]) -> Ports:
    return tuple(sorted(ports, key=lambda port: (port.name, port.protocol, port.port or 0)))


def _hints(service: Service, node_name: str, zone: str) -> EndpointHints | None:
    if topology_hints.is_enabled(service):
        return None
    match service.spec.traffic_distribution:
        case "PreferClose" | "PreferSameZone" if zone:
            return EndpointHints(for_zones=(ForZone(name=zone),))
        case "PreferSameNode" if node_name:
            zones = (ForZone(name=zone),) if zone else ()
            return EndpointHints(for_nodes=(ForNode(name=node_name),), for_zones=zones)
        case _:
            return None


def _service_key(one: EndpointSlice) -> list[tuple[str, str]]:
    labels = one.metadata.labels
    if labels.get(MANAGED_BY) != MANAGER or SERVICE_NAME not in labels:
        return []
    return [(one.metadata.namespace, labels[SERVICE_NAME])]
