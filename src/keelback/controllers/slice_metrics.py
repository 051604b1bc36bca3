"""What the controllers that write EndpointSlices count, by upstream's names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Protocol

from keelback.api.core_v1 import Service
from keelback.api.discovery_v1 import Endpoint, EndpointSlice
from keelback.reconcile.controller_metrics import ControllerMetrics, Count, Level, Spread, powers

_SLICES, _MIRRORING = "endpoint_slice_controller", "endpoint_slice_mirroring_controller"
_PER_SYNC = powers(2, 2, 15)
ADDED = Spread(f"{_SLICES}_endpoints_added_per_sync", "Number of endpoints added on each Service sync", (), _PER_SYNC)
REMOVED = Spread(
    f"{_SLICES}_endpoints_removed_per_sync", "Number of endpoints removed on each Service sync", (), _PER_SYNC
)
CHANGES = Count(f"{_SLICES}_changes", "Number of EndpointSlice changes", ("operation",))
CHANGED_PER_SYNC = Spread(
    f"{_SLICES}_endpointslices_changed_per_sync",
    "Number of EndpointSlices changed on each Service sync",
    ("topology", "traffic_distribution"),
)
SLICES = Level(f"{_SLICES}_num_endpoint_slices", "Number of EndpointSlices")
DESIRED_SLICES = Level(
    f"{_SLICES}_desired_endpoint_slices", "Number of EndpointSlices that would exist with perfect endpoint allocation"
)
DESIRED = Level(f"{_SLICES}_endpoints_desired", "Number of endpoints desired")
SERVICES = Level(
    f"{_SLICES}_services_count_by_traffic_distribution",
    "Number of Services using some specific trafficDistribution",
    ("traffic_distribution",),
)
MIRRORED = Level(f"{_MIRRORING}_num_endpoint_slices", "Number of EndpointSlices")
MIRRORED_ENDPOINTS = Level(f"{_MIRRORING}_endpoints_desired", "Number of endpoints desired")
MIRRORING_CHANGES = Count(f"{_MIRRORING}_changes", "Number of EndpointSlice changes", ("operation",))
SKIPPED = Spread(
    f"{_MIRRORING}_addresses_skipped_per_sync",
    "Number of addresses skipped on each Endpoints sync due to being invalid or exceeding MaxEndpointsPerSubset",
    (),
    _PER_SYNC,
)


class Changes(Protocol):
    """Slices that were made, changed and deleted."""

    create: list[EndpointSlice]
    update: list[tuple[EndpointSlice, EndpointSlice]]
    delete: list[EndpointSlice]


def count_sync(metrics: ControllerMetrics, service: Service, done: Changes, *, by_zone: bool) -> None:
    """What one look at a Service has changed."""
    before = Counter(
        _who(endpoint) for old in (*done.delete, *(old for old, _ in done.update)) for endpoint in _of(old)
    )
    after = Counter(_who(endpoint) for new in (*done.create, *(new for _, new in done.update)) for endpoint in _of(new))
    metrics.observe(ADDED, (after - before).total())
    metrics.observe(REMOVED, (before - after).total())
    count_changes(metrics, CHANGES, len(done.create), len(done.update), len(done.delete))
    distribution = "" if by_zone else service.spec.traffic_distribution or ""
    number = len(done.create) + len(done.update) + len(done.delete)
    metrics.observe(CHANGED_PER_SYNC, number, "Auto" if by_zone else "Disabled", distribution)


def count_changes(metrics: ControllerMetrics, metric: Count, created: int, updated: int, deleted: int) -> None:
    """Writes by what they did."""
    for operation, number in (("create", created), ("update", updated), ("delete", deleted)):
        if number:
            metrics.inc(metric, operation, amount=number)


def held(slices: Iterable[EndpointSlice], most: int) -> tuple[int, int, int]:
    """How many slices there are, how many there would be were all full but the last, and how many endpoints."""
    sizes: Counter[tuple[object, ...]] = Counter()
    number = 0
    for one in slices:
        number += 1
        references = one.metadata.owner_references
        sizes[one.address_type, one.ports or (), *(each.uid for each in references)] += len(_of(one))
    return number, sum(max(1, -(-size // most)) for size in sizes.values()), sum(sizes.values())


def distributions(services: Iterable[Service]) -> dict[tuple[str, ...], float]:
    """How many Services ask for which distribution."""
    return dict(Counter((one.spec.traffic_distribution,) for one in services if one.spec.traffic_distribution))


def _of(one: EndpointSlice) -> tuple[Endpoint, ...]:
    return tuple(one.endpoints or ())


def _who(endpoint: Endpoint) -> tuple[object, ...]:
    return (endpoint.target_ref.uid if endpoint.target_ref is not None else "", *endpoint.addresses)
