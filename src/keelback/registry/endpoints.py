"""Endpoints: of old; every request is told of their successor."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from keelback.api.core_v1 import EndpointPort, Endpoints, EndpointSubset
from keelback.registry.cells import NONE
from keelback.registry.strategy import AGE, Column, Strategy

_SHOWN = 3


def _addresses(endpoints: Endpoints, _now: datetime) -> str:
    shown = [text for subset in endpoints.subsets for text in _of_subset(subset)]
    if not shown:
        return NONE
    text = ",".join(shown[:_SHOWN])
    return f"{text} + {len(shown) - _SHOWN} more..." if len(shown) > _SHOWN else text


def _of_subset(subset: EndpointSubset) -> Iterable[str]:
    ports: tuple[EndpointPort | None, ...] = subset.ports or (None,)
    for port in ports:
        for address in subset.addresses:
            host = f"[{address.ip}]" if port is not None and ":" in address.ip else address.ip
            yield host if port is None else f"{host}:{port.port}"


class EndpointsStrategy(Strategy[Endpoints]):
    kind = Endpoints
    counts_generations = False
    deprecation_warning = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
    columns = (Column("Endpoints", _addresses), AGE)
