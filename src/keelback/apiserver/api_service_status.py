"""The Available condition of an APIService: what can be said of it without asking its server. Pure.

Reasons and messages are those of kube-aggregator's availability controllers.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from keelback.api import conditions
from keelback.api.apiregistration_v1 import APIService, APIServiceCondition, APIServiceStatus, ServiceReference
from keelback.api.core_v1 import Service
from keelback.api.discovery_v1 import EndpointSlice
from keelback.apimachinery.go_text import go_quoted
from keelback.apimachinery.meta import replace

AVAILABLE: Final = "Available"
SERVICE_LABEL: Final = "kubernetes.io/service-name"


def available(now: datetime, *, reason: str, message: str, is_true: bool) -> APIServiceCondition:
    """The condition."""
    return APIServiceCondition(
        type=AVAILABLE,
        status="True" if is_true else "False",
        reason=reason,
        message=message,
        last_transition_time=now.replace(microsecond=0),
    )


def local(now: datetime) -> APIServiceCondition:
    """That of an APIService which is served here."""
    return available(now, reason="Local", message="Local APIServices are always available", is_true=True)


def passed(now: datetime) -> APIServiceCondition:
    """That of an APIService whose server has answered."""
    return available(now, reason="Passed", message="all checks passed", is_true=True)


def failed_discovery_check(now: datetime, message: str) -> APIServiceCondition:
    """That of an APIService whose server has not answered as it should."""
    return available(now, reason="FailedDiscoveryCheck", message=message, is_true=False)


def judge(
    reference: ServiceReference, service: Service | None, slices: Iterable[EndpointSlice], now: datetime
) -> APIServiceCondition | None:
    """What the Service says, without its server being asked; None where it must be asked.

    `slices` are those of the Service's namespace.
    """

    def unavailable(reason: str, message: str) -> APIServiceCondition:
        return available(now, reason=reason, message=message, is_true=False)

    name, namespace = f"service/{reference.name}", go_quoted(reference.namespace)
    if service is None:
        return unavailable("ServiceNotFound", f"{name} in {namespace} is not present")
    if service.spec.type != "ClusterIP":
        return None
    port = next((one for one in service.spec.ports if one.port == reference.port), None)
    if port is None:
        return unavailable("ServicePortError", f"{name} in {namespace} is not listening on port {reference.port}")
    own = [one for one in slices if one.metadata.labels.get(SERVICE_LABEL) == reference.name]
    if not own:
        return unavailable("EndpointsNotFound", f"cannot find endpointslices for {name} in {namespace}")
    if not any(_has_endpoint(one, port.name) for one in own):
        return unavailable(
            "MissingEndpoints",
            f"endpointslices for {name} in {namespace} have no addresses with port name {go_quoted(port.name)}",
        )
    return None


def _has_endpoint(slice_: EndpointSlice, port_name: str) -> bool:
    has_port = any((one.name or "") == port_name for one in slice_.ports or ())
    return has_port and any(one.addresses and one.conditions.ready is not False for one in slice_.endpoints or ())


def is_available(api_service: APIService) -> bool:
    """Whether its condition says so."""
    return conditions.is_true(api_service.status.conditions, AVAILABLE)


def with_condition(status: APIServiceStatus, condition: APIServiceCondition) -> APIServiceStatus:
    """The status with the condition; one that only words it anew keeps its time of transition."""
    return replace(status, conditions=tuple(conditions.set_in_place(status.conditions, condition)))
