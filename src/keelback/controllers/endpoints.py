"""The endpoints controller: the older, single object with all addresses behind a Service, which some still read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from keelback.api import pods
from keelback.api.core_v1 import EndpointAddress, EndpointPort, Endpoints, EndpointSubset, Service
from keelback.apimachinery import errors
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.client import MergePatch
from keelback.controllers import pod_endpoints, trigger_times
from keelback.controllers.endpoint_pace import Pace
from keelback.controllers.observed import PodView
from keelback.controllers.pod_control import is_namespace_terminating
from keelback.controllers.trigger_times import TriggerTimes
from keelback.reconcile import patches
from keelback.reconcile.context import Context
from keelback.reconcile.loop import Source
from keelback.reconcile.result import DONE, Result, again_after

HEADLESS = "service.kubernetes.io/headless"
MANAGED_BY = "endpoints.kubernetes.io/managed-by"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
MAX_ADDRESSES = 1000


def subsets(service: Service, candidates: Iterable[PodView]) -> tuple[EndpointSubset, ...]:
    """The pods' addresses, grouped so that each subset is every address with every port, in a fixed order."""
    family = pod_endpoints.families(service)[0]
    publishes_all = service.spec.publish_not_ready_addresses
    groups: dict[tuple[EndpointPort, ...], tuple[list[EndpointAddress], list[EndpointAddress]]] = {}
    for pod in candidates:
        if not pod_endpoints.is_candidate(pod) or (pods.is_terminating(pod) and not publishes_all):
            continue
        ip = pod_endpoints.address_of_family(pod, family)
        ports = _ports(service, pod)
        if not ip or (service.spec.ports and not ports):
            continue
        address = EndpointAddress(
            ip=ip,
            hostname=pod_endpoints.hostname(pod, service),
            node_name=pod.spec.node_name or None,
            target_ref=pod_endpoints.target_reference(pod),
        )
        ready, not_ready = groups.setdefault(ports, ([], []))
        (ready if publishes_all or pods.is_ready(pod) else not_ready).append(address)
    return tuple(
        EndpointSubset(addresses=_sorted(ready), not_ready_addresses=_sorted(not_ready), ports=ports)
        for ports, (ready, not_ready) in sorted(groups.items(), key=lambda item: [_port_key(port) for port in item[0]])
    )


def truncated(found: tuple[EndpointSubset, ...]) -> tuple[tuple[EndpointSubset, ...], bool]:
    """At most a thousand addresses, ready ones first, each subset its part of them; and whether any were left out."""
    ready = sum(len(one.addresses) for one in found)
    unready = sum(len(one.not_ready_addresses) for one in found)
    if ready + unready <= MAX_ADDRESSES:
        return found, False
    if ready > MAX_ADDRESSES:
        parts = _parts([len(one.addresses) for one in found], MAX_ADDRESSES)
        kept = [
            replace(one, addresses=one.addresses[:part], not_ready_addresses=())
            for one, part in zip(found, parts, strict=True)
        ]
    else:
        parts = _parts([len(one.not_ready_addresses) for one in found], MAX_ADDRESSES - ready)
        kept = [
            replace(one, not_ready_addresses=one.not_ready_addresses[:part])
            for one, part in zip(found, parts, strict=True)
        ]
    return tuple(one for one in kept if one.addresses or one.not_ready_addresses), True


def _parts(sizes: Sequence[int], room: int) -> list[int]:
    """How much of the room each gets: its share, rounded up, as long as there is some."""
    total, left = sum(sizes), room
    parts = []
    for size in sizes:
        part = min(left, size, -(-size * room // total))
        left -= part
        parts.append(part)
    return parts


def make_endpoints(service: Service, candidates: Iterable[PodView], held: Endpoints | None) -> Endpoints:
    """The Endpoints object a Service should have."""
    kept, is_over_capacity = truncated(subsets(service, candidates))
    labels = {key: value for key, value in service.metadata.labels.items() if key != HEADLESS}
    labels[MANAGED_BY] = "endpoint-controller"
    if service.spec.cluster_ip == "None":
        labels[HEADLESS] = ""
    annotations = dict(held.metadata.annotations) if held is not None else {}
    annotations.pop(OVER_CAPACITY, None)
    if is_over_capacity:
        annotations[OVER_CAPACITY] = "truncated"
    name, namespace = service.metadata.name, service.metadata.namespace
    metadata = ObjectMeta(name=name, namespace=namespace, labels=labels, annotations=annotations)
    return Endpoints(metadata=metadata, subsets=kept)


@dataclass(frozen=True, slots=True)
class EndpointsReconciler:
    """Writes the object when it differs, and deletes it after its Service."""

    context: Context
    batch_seconds: float = 0.0
    times: TriggerTimes = field(default_factory=TriggerTimes)
    pace: Pace = field(default_factory=Pace)
    name: ClassVar = "endpoints-controller"
    role: ClassVar = "endpoint-controller"
    component: ClassVar = "endpoint-controller"
    kind: ClassVar = Service
    owns: ClassVar = ()

    def sources(self) -> Sequence[Source]:
        self.context.caches.index(Service, "by-namespace", lambda one: [one.metadata.namespace])
        self.context.caches.index(PodView, "by-namespace", lambda one: [one.metadata.namespace])
        return (
            Source(PodView, self._services_of, pod_endpoints.matters, self.batch_seconds),
            Source(Endpoints, _key, lambda change: change.type == "DELETED"),
        )

    async def reconcile(self, service: Service) -> Result:
        if service.spec.type == "ExternalName" or not service.spec.selector or service.metadata.deletion_timestamp:
            return DONE
        if seconds := self.pace.seconds_left(service, self.context.clock.monotonic()):
            return again_after(seconds)
        namespace, name = service.metadata.namespace, service.metadata.name
        held = self.context.caches.store(Endpoints).get(namespace, name)
        candidates = [
            pod
            for pod in self.context.caches.store(PodView).by_index("by-namespace", namespace)
            if pod_endpoints.selects(service.spec.selector, pod.metadata.labels)
        ]
        time = self.times.observe(service, candidates)
        wanted = make_endpoints(service, candidates, held)
        annotations = trigger_times.annotated(wanted.metadata.annotations, time)
        stamped = replace(wanted, metadata=replace(wanted.metadata, annotations=annotations))
        if held is None:
            await self._create(service, stamped)
        elif patches.difference(_owned(held), _owned(wanted)):
            await self._change(held, stamped)
            written = sum(len(one.addresses) + len(one.not_ready_addresses) for one in stamped.subsets)
            self.pace.wrote(service, written, self.context.clock.monotonic())
        return DONE

    async def reconcile_absence(self, namespace: str, name: str) -> Result:
        self.times.forget(namespace, name)
        self.pace.forget(namespace, name)
        await self.context.client.delete(Endpoints, name, namespace)
        return DONE

    async def _create(self, service: Service, wanted: Endpoints) -> None:
        try:
            await self.context.client.create(wanted)
        except errors.StatusError as error:
            if is_namespace_terminating(error):
                return
            message = (
                f"Failed to create endpoint for service {wanted.metadata.namespace}/{wanted.metadata.name}: {error}"
            )
            await self.context.events.event(service, "Warning", "FailedToCreateEndpoint", message)
            raise

    async def _change(self, held: Endpoints, wanted: Endpoints) -> None:
        changes = patches.difference(_owned(held), _owned(wanted))
        metadata = held.metadata
        try:
            await self.context.client.patch(Endpoints, metadata.name, metadata.namespace, MergePatch(changes))
        except errors.StatusError as error:
            message = f"Failed to update endpoint {metadata.namespace}/{metadata.name}: {error}"
            await self.context.events.event(held, "Warning", "FailedToUpdateEndpoint", message)
            raise

    def _services_of(self, pod: PodView) -> list[tuple[str, str]]:
        services = self.context.caches.store(Service).by_index("by-namespace", pod.metadata.namespace)
        return pod_endpoints.services_of(pod, services)


def _ports(service: Service, pod: PodView) -> tuple[EndpointPort, ...]:
    found = []
    for port in service.spec.ports:
        number = pod_endpoints.resolve_port(pod, port)
        if number is not None:
            made = EndpointPort(name=port.name, port=number, protocol=port.protocol, app_protocol=port.app_protocol)
            found.append(made)
    return tuple(sorted(found, key=_port_key))


def _port_key(port: EndpointPort) -> tuple[str, int, str]:
    return (port.name, port.port, port.protocol)


def _sorted(addresses: Iterable[EndpointAddress]) -> tuple[EndpointAddress, ...]:
    return tuple(sorted(addresses, key=lambda one: (one.ip, one.target_ref.uid if one.target_ref else "")))


def _owned(endpoints: Endpoints) -> dict[str, object]:
    """The fields this controller decides about, as a tree."""
    metadata = {"labels": dict(endpoints.metadata.labels), "annotations": dict(endpoints.metadata.annotations)}
    # An Endpoints without subsets has none on the wire: null removes them.
    return {"metadata": metadata, "subsets": [patches.tree(one) for one in endpoints.subsets] or None}


def _key(endpoints: Endpoints) -> list[tuple[str, str]]:
    return [(endpoints.metadata.namespace, endpoints.metadata.name)]
