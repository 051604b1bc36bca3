"""The endpointslicemirroring controller: Endpoints that people write for Services without a selector, as slices.

Whoever reads slices then sees these endpoints too. What has a selector has slices of its own and is not mirrored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from keelback.api import owners
from keelback.api.core_v1 import EndpointAddress, Endpoints, EndpointSubset, Service
from keelback.api.discovery_v1 import Endpoint, EndpointConditions, EndpointPort, EndpointSlice
from keelback.apimachinery import errors
from keelback.apimachinery.meta import ObjectMeta
from keelback.client import MergePatch
from keelback.controllers import slice_metrics, trigger_times
from keelback.controllers.pod_control import is_namespace_terminating
from keelback.controllers.pod_endpoints import family_of
from keelback.reconcile import patches
from keelback.reconcile.context import Context
from keelback.reconcile.loop import Source
from keelback.reconcile.result import DONE, Result

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslicemirroring-controller.k8s.io"
SKIP_MIRROR = "endpointslice.kubernetes.io/skip-mirror"
_LEADER = "control-plane.alpha.kubernetes.io/leader"
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

MAX_ENDPOINTS_PER_SUBSET = 1000


def is_mirrored(endpoints: Endpoints, service: Service | None) -> bool:
    """Whether the Endpoints are somebody's own, to be mirrored."""
    metadata = endpoints.metadata
    if metadata.labels.get(SKIP_MIRROR) == "true" or _LEADER in metadata.annotations:
        return False
    return service is not None and not service.spec.selector and service.spec.type != "ExternalName"


def wanted_slices(endpoints: Endpoints, most: int = MAX_ENDPOINTS_PER_SUBSET) -> list[EndpointSlice]:
    """A slice for each subset and address family: found again by its family and ports."""
    found = []
    for subset in endpoints.subsets:
        by_family: dict[str, list[Endpoint]] = {}
        for address, ready in _addresses(subset):
            by_family.setdefault(family_of(address.ip), []).append(_endpoint(address, ready))
        for family, members in by_family.items():
            found.append(_make_slice(endpoints, subset, family, members[:most]))
    return found


def skipped_addresses(endpoints: Endpoints, most: int = MAX_ENDPOINTS_PER_SUBSET) -> int:
    """How many addresses no slice has room for."""
    return sum(max(0, len(subset.addresses) + len(subset.not_ready_addresses) - most) for subset in endpoints.subsets)


@dataclass(frozen=True, slots=True)
class EndpointSliceMirroringReconciler:
    """Makes, changes and deletes slices until they say what the Endpoints say."""

    context: Context
    max_endpoints_per_subset: int = MAX_ENDPOINTS_PER_SUBSET
    batch_seconds: float = 0.0
    name: ClassVar = "endpointslice-mirroring-controller"
    role: ClassVar = "endpointslicemirroring-controller"
    component: ClassVar = "endpoint-slice-mirroring-controller"
    kind: ClassVar = Endpoints
    owns: ClassVar = ()

    def __post_init__(self) -> None:
        metrics = self.context.metrics
        metrics.at_collection(slice_metrics.MIRRORED, lambda: {(): float(len(self._all()))})
        desired = slice_metrics.MIRRORED_ENDPOINTS
        metrics.at_collection(desired, lambda: {(): float(sum(len(one.endpoints or ()) for one in self._all()))})

    def sources(self) -> Sequence[Source]:
        self.context.caches.index(EndpointSlice, "by-mirrored", _mirrored_key)
        return (
            Source(Service, _key_of_service, delay_seconds=self.batch_seconds),
            Source(EndpointSlice, _mirrored_key),
        )

    async def reconcile(self, endpoints: Endpoints) -> Result:
        namespace, name = endpoints.metadata.namespace, endpoints.metadata.name
        service = self.context.caches.store(Service).get(namespace, name)
        most = self.max_endpoints_per_subset
        wanted = wanted_slices(endpoints, most) if is_mirrored(endpoints, service) else []
        await self._carry_out(wanted, self._held(namespace, name))
        if wanted:
            skipped = skipped_addresses(endpoints, most)
            self.context.metrics.observe(slice_metrics.SKIPPED, skipped)
            if skipped:
                message = (
                    f"A max of {most} addresses can be mirrored to EndpointSlices per Endpoints "
                    f"subset. {skipped} addresses were skipped"
                )
                await self.context.events.event(endpoints, "Warning", "TooManyAddressesToMirror", message)
        return DONE

    async def reconcile_absence(self, namespace: str, name: str) -> Result:
        await self._carry_out([], self._held(namespace, name))
        return DONE

    def _all(self) -> list[EndpointSlice]:
        slices = self.context.caches.store(EndpointSlice).list()
        return [one for one in slices if one.metadata.labels.get(MANAGED_BY) == MANAGER]

    def _held(self, namespace: str, name: str) -> list[EndpointSlice]:
        store = self.context.caches.index(EndpointSlice, "by-mirrored", _mirrored_key)
        return store.by_index("by-mirrored", (namespace, name))

    async def _carry_out(self, wanted: Sequence[EndpointSlice], held: Sequence[EndpointSlice]) -> None:
        client = self.context.client
        left = list(held)
        created = updated = 0
        for one in wanted:
            old = next((other for other in left if _place(other) == _place(one)), None)
            if old is None:
                try:
                    await client.create(one)
                except errors.StatusError as error:
                    if not is_namespace_terminating(error):
                        raise
                created += 1
                continue
            left.remove(old)
            changes = patches.difference(_owned(old), _owned(one))
            if changes:
                updated += 1
                await client.patch(EndpointSlice, old.metadata.name, old.metadata.namespace, MergePatch(changes))
        for one in left:
            await client.delete(EndpointSlice, one.metadata.name, one.metadata.namespace, uid=one.metadata.uid)
        changes_of = slice_metrics.MIRRORING_CHANGES
        slice_metrics.count_changes(self.context.metrics, changes_of, created, updated, len(left))


def _place(one: EndpointSlice) -> tuple[str, tuple[EndpointPort, ...]]:
    return (one.address_type, tuple(one.ports or ()))


def _addresses(subset: EndpointSubset) -> Iterator[tuple[EndpointAddress, bool]]:
    for address in subset.addresses:
        yield address, True
    for address in subset.not_ready_addresses:
        yield address, False


def _endpoint(address: EndpointAddress, ready: bool) -> Endpoint:
    return Endpoint(
        addresses=(address.ip,),
        conditions=EndpointConditions(ready=ready),
        hostname=address.hostname or None,
        node_name=address.node_name,
        target_ref=address.target_ref,
    )


def _make_slice(
    endpoints: Endpoints, subset: EndpointSubset, family: str, members: Sequence[Endpoint]
) -> EndpointSlice:
    metadata = endpoints.metadata
    labels = {**metadata.labels, SERVICE_NAME: metadata.name, MANAGED_BY: MANAGER}
    annotations = {
        key: value
        for key, value in metadata.annotations.items()
        if key not in (_LAST_APPLIED, trigger_times.ANNOTATION)
    }
    ports = tuple(
        EndpointPort(name=port.name, port=port.port, protocol=port.protocol, app_protocol=port.app_protocol)
        for port in subset.ports
    )
    return EndpointSlice(
        metadata=ObjectMeta(
            generate_name=f"{metadata.name[:57]}-",
            namespace=metadata.namespace,
            labels=labels,
            annotations=annotations,
            owner_references=(owners.controller_reference(endpoints),),
        ),
        address_type=family,
        endpoints=tuple(members),
        ports=ports,
    )


def _owned(one: EndpointSlice) -> dict[str, object]:
    """The fields this controller decides about, as a tree."""
    return {
        "metadata": {"labels": dict(one.metadata.labels), "annotations": dict(one.metadata.annotations)},
        "endpoints": [patches.tree(endpoint) for endpoint in one.endpoints or ()],
        "ports": [patches.tree(port) for port in one.ports or ()],
    }


def _key_of_service(service: Service) -> list[tuple[str, str]]:
    return [(service.metadata.namespace, service.metadata.name)]


def _mirrored_key(one: EndpointSlice) -> list[tuple[str, str]]:
    labels = one.metadata.labels
    if labels.get(MANAGED_BY) != MANAGER or SERVICE_NAME not in labels:
        return []
    return [(one.metadata.namespace, labels[SERVICE_NAME])]
