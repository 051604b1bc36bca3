"""The types of discovery/v1: shape, defaults and merge keys, one class per upstream type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from keelback.api.core_v1 import ObjectReference
from keelback.apimachinery.meta import Atomic, ListSet, Object, Value, kind, written


class EndpointConditions(Value):
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class Endpoint(Value):
    addresses: Annotated[tuple[str, ...], ListSet()] = written(())
    conditions: EndpointConditions = written(EndpointConditions())
    deprecated_topology: Mapping[str, str] = {}
    hints: EndpointHints | None = None
    hostname: str | None = None
    node_name: str | None = None
    target_ref: Annotated[ObjectReference | None, Atomic()] = None
    zone: str | None = None


class EndpointHints(Value):
    for_nodes: tuple[ForNode, ...] = ()
    for_zones: tuple[ForZone, ...] = ()


class EndpointPort(Value):
    app_protocol: str | None = None
    name: str = written("")
    port: int | None = None
    protocol: str = written("TCP")


@kind("discovery.k8s.io/v1", "endpointslices")
class EndpointSlice(Object):
    address_type: str = written("")
    endpoints: tuple[Endpoint, ...] | None = written(None)
    ports: tuple[EndpointPort, ...] | None = written(None)


class ForNode(Value):
    name: str = written("")


class ForZone(Value):
    name: str = written("")
