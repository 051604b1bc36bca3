"""Hints by `service.kubernetes.io/topology-mode: Auto`: each zone gets endpoints in proportion to its nodes' CPUs.

Where that cannot be done without loading some endpoint a fifth more than the others, there are no hints, and an event
says why. https://kep.k8s.io/2433
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from keelback.api import nodes
from keelback.api.core_v1 import Service
from keelback.api.discovery_v1 import Endpoint, EndpointHints, EndpointSlice, ForZone
from keelback.apimachinery import quantity
from keelback.apimachinery.meta import replace
from keelback.client import Change
from keelback.controllers.observed import NodeView
from keelback.reconcile.caches import SharedCaches
from keelback.reconcile.loop import Key, Source

MODE = "service.kubernetes.io/topology-mode"
OLDER_MODE = "service.kubernetes.io/topology-aware-hints"
OVERLOAD = 0.2
"""How much more than its share an endpoint may be asked to serve."""

_EXCLUDED = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
_ENABLED = "Topology Aware Hints has been enabled"
_DISABLED = "Topology Aware Hints has been disabled"
_NO_NODE_INFORMATION = "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"
_NO_ZONE = "One or more endpoints do not have a zone specified"
_TOO_FEW = "Insufficient number of endpoints"
_OVERLOADED = "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold"
_INDEX = "by-topology-mode"


K = TypeVar("K", bound=tuple[str, object])
Event: TypeAlias = tuple[str, str, str]
"""Type, reason and message."""
Identity: TypeAlias = tuple[str, tuple[str, ...]]


class NotPossible(Exception):
    """There can be no hints; the text is the event's."""


@dataclass(frozen=True, slots=True)
class Share:
    """How many endpoints serve a zone: at least, and by its part of the CPUs."""

    minimum: int
    desired: float


def is_enabled(service: Service) -> bool:
    """Whether the Service asks for hints; the older annotation has the last word."""
    annotations = service.metadata.annotations
    return annotations.get(OLDER_MODE, annotations.get(MODE, "")) in ("Auto", "auto")


def cpu_ratios(everyone: Iterable[NodeView]) -> Mapping[str, float]:
    """Each zone's part of the CPUs of Ready nodes; nothing where one lacks its zone or CPUs, or there is one zone."""
    cpus: dict[str, int] = {}
    for node in everyone:
        zone, cpu, counts = _facts(node)
        if not counts:
            continue
        milli = quantity.milli_value(cpu or "0")
        if not zone or not milli:
            return {}
        cpus[zone] = cpus.get(zone, 0) + milli
    total = sum(cpus.values())
    return {zone: cpus[zone] / total for zone in sorted(cpus)} if len(cpus) > 1 else {}


def shares(ratios: Mapping[str, float], count: int) -> Mapping[str, Share]:
    """Divide `count` ready endpoints among zones. Raises NotPossible."""
    if not ratios:
        raise NotPossible(_NO_NODE_INFORMATION)
    if len(ratios) > count:
        raise NotPossible(f"{_TOO_FEW} ({count} endpoints, {len(ratios)} zones)")
    divided = {}
    for zone, ratio in ratios.items():
        minimum = math.ceil(ratio * count / (1 + OVERLOAD))
        divided[zone] = Share(minimum, max(ratio * count, minimum))
    if sum(share.minimum for share in divided.values()) > count:
        raise NotPossible(f"{_OVERLOADED} ({count} endpoints, {len(ratios)} zones)")
    return divided


def assign(zones: Sequence[str], held: Sequence[str], ratios: Mapping[str, float]) -> list[str]:
    """For each ready endpoint the zone it is for, given the zone it is in and that of its present hint, if any.

    A hint stays as long as every zone can still have its minimum; other endpoints are for their own zone first, and
    then go from zones that have too many to those that have too few. Raises NotPossible.
    """
    divided = shares(ratios, len(zones))
    if not all(zones):
        raise NotPossible(_NO_ZONE)
    counts = dict.fromkeys(divided, 0)
    spare = len(zones) - sum(share.minimum for share in divided.values())
    result: list[str] = []
    free: list[int] = []
    for index, (zone, hint) in enumerate(zip(zones, held, strict=True)):
        is_within = hint in divided and counts[hint] < divided[hint].minimum
        if is_within or (hint in divided and spare > 0):
            spare -= not is_within
            result.append(hint)
        else:
            free.append(index)
            result.append(zone)
        counts[result[-1]] = counts.get(result[-1], 0) + 1
    _redistribute(result, free, counts, divided)
    return result


class TopologyHints:
    """What is remembered between syncs: the zones' parts of the CPUs, and what each Service was last told."""

    def __init__(self, caches: SharedCaches) -> None:
        self._nodes = caches.store(NodeView)
        self._services = caches.index(Service, _INDEX, lambda one: [_INDEX] if is_enabled(one) else [])
        self._ratios: Mapping[str, float] | None = None
        self._told: dict[tuple[Key, str], str] = {}

    def source(self) -> Source:
        """Nodes, as far as they matter: all Services with hints are looked at when CPUs come or go."""
        return Source(NodeView, self._services_with_hints, self._matters)

    def hinted(
        self, service: Service, wanted: Mapping[K, Sequence[Endpoint]], existing: Iterable[EndpointSlice]
    ) -> tuple[Mapping[K, Sequence[Endpoint]], list[Event]]:
        """The endpoints wanted, with the hints that they are to have, and what there is to say of it.

        Keys begin with an address family: each family has hints, or has none, for itself.
        """
        families = sorted({key[0] for key in wanted})
        if not is_enabled(service):
            return wanted, [event for family in families for event in self._say(service, family, _DISABLED)]
        if self._ratios is None:
            self._ratios = cpu_ratios(self._nodes.list())
        held = {_identity(one): _zone_hinted(one) for each in existing for one in each.endpoints or ()}
        result: dict[K, Sequence[Endpoint]] = {}
        events: list[Event] = []
        for family in families:
            chosen, message = _chosen(
                [one for key in wanted if key[0] == family for one in wanted[key]], held, self._ratios
            )
            for key in wanted:
                if key[0] == family:
                    result[key] = [replace(one, hints=chosen.get(_identity(one))) for one in wanted[key]]
            events += self._say(service, family, message)
        return {key: result[key] for key in wanted}, events

    def forget(self, namespace: str, name: str) -> None:
        """The Service is gone."""
        for told in [told for told in self._told if told[0] == (namespace, name)]:
            del self._told[told]

    def _say(self, service: Service, family: str, message: str) -> list[Event]:
        """An event where there is news: upstream says the same again at each sync, and counts on nobody writing it."""
        told = ((service.metadata.namespace, service.metadata.name), family)
        if self._told.get(told, _DISABLED) == message:
            return []
        self._told[told] = message
        if message == _DISABLED:
            del self._told[told]
        is_on = message == _ENABLED
        return [
            (
                "Normal" if is_on else "Warning",
                "TopologyAwareHintsEnabled" if is_on else "TopologyAwareHintsDisabled",
                f"{message}, addressType: {family}",
            )
        ]

    def _matters(self, change: Change[NodeView]) -> bool:
        if change.old is not None and change.new is not None and _facts(change.old) == _facts(change.new):
            return False
        self._ratios = None
        return True

    def _services_with_hints(self, node: NodeView) -> list[Key]:
        return [(one.metadata.namespace, one.metadata.name) for one in self._services.by_index(_INDEX, _INDEX)]


def _chosen(
    endpoints: Sequence[Endpoint], held: Mapping[Identity, str], ratios: Mapping[str, float]
) -> tuple[Mapping[Identity, EndpointHints], str]:
    ready = [one for one in endpoints if one.conditions.ready]
    try:
        zones = assign([one.zone or "" for one in ready], [held.get(_identity(one), "") for one in ready], ratios)
    except NotPossible as error:
        return {}, str(error)
    hints = [EndpointHints(for_zones=(ForZone(name=zone),)) for zone in zones]
    return dict(zip(map(_identity, ready), hints, strict=True)), _ENABLED


def _redistribute(result: list[str], free: Sequence[int], counts: dict[str, int], divided: Mapping[str, Share]) -> None:
    """Move free endpoints one by one, from the zone that has most too many to the one that most lacks some."""
    nobody = Share(0, 0.0)
    movable: dict[str, list[int]] = {}
    for index in reversed(free):
        movable.setdefault(result[index], []).append(index)
    while True:
        surplus = {zone: counts[zone] - divided.get(zone, nobody).desired for zone in sorted(counts)}
        givers = [zone for zone in surplus if movable.get(zone) and counts[zone] > divided.get(zone, nobody).minimum]
        if not givers:
            return
        giver = max(givers, key=surplus.__getitem__)
        taker = min(divided, key=surplus.__getitem__)
        most, least = surplus[giver], -surplus[taker]
        is_close = min(most, least) < 0.5 or max(most, least) < 1.0
        if is_close and counts[taker] >= divided[taker].minimum:
            return
        result[movable[giver].pop()] = taker
        counts[giver] -= 1
        counts[taker] += 1


def _facts(node: NodeView) -> tuple[str, str, bool]:
    """Zone, CPUs, and whether the node counts."""
    labels = node.metadata.labels
    is_ready = any(one.type == "Ready" and one.status == "True" for one in node.status.conditions)
    counts = is_ready and not any(label in labels for label in _EXCLUDED)
    return labels.get(nodes.ZONE, ""), node.status.allocatable.get("cpu", ""), counts


def _identity(endpoint: Endpoint) -> Identity:
    return (endpoint.target_ref.uid if endpoint.target_ref is not None else "", tuple(endpoint.addresses))


def _zone_hinted(endpoint: Endpoint) -> str:
    hints = endpoint.hints
    return hints.for_zones[0].name if hints is not None and len(hints.for_zones) == 1 else ""
