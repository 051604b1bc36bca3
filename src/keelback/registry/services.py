"""Services: the policies that follow from the type, the ports, and addresses that never change hands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, ClassVar

import msgspec

from keelback.api.core_v1 import ClientIPConfig, Service, ServicePort, ServiceSpec, SessionAffinityConfig
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError
from keelback.apimachinery.meta import replace
from keelback.registry import service_specs, service_updates, service_warnings
from keelback.registry.cells import NONE, label_set, wide
from keelback.registry.strategy import AGE, Column, Strategy

CLIENT_IP_TIMEOUT_SECONDS = 10800


class _Spec(msgspec.Struct, frozen=True):
    cluster_ip: str = msgspec.field(name="clusterIP", default="")
    type: str = ""


class ServiceFields(msgspec.Struct, frozen=True):
    """What services can be selected by."""

    spec: _Spec = _Spec()


def _external_ip(service: Service, _now: datetime) -> str:
    spec = service.spec
    if spec.type == "ExternalName":
        return spec.external_name
    given = list(spec.external_ips)
    if spec.type == "LoadBalancer":
        balanced = [one.ip or one.hostname for one in service.status.load_balancer.ingress if one.ip or one.hostname]
        return ",".join(balanced + given) or "<pending>"
    return ",".join(given) or NONE


def _ports(service: Service, _now: datetime) -> str:
    def shown(port: ServicePort) -> str:
        node_port = f":{port.node_port}" if port.node_port > 0 else ""
        return f"{port.port}{node_port}/{port.protocol}"

    return ",".join(shown(port) for port in service.spec.ports) or NONE


class ServiceStrategy(Strategy[Service]):
    kind = Service
    storage_path = "services/specs"
    is_created_by_update = True
    subresources = ("proxy", "status")
    answers_deleted_object = True
    counts_generations = False
    columns = (
        Column("Type", lambda service, _now: service.spec.type),
        Column("Cluster-IP", lambda service, _now: service.spec.cluster_ip or NONE),
        Column("External-IP", _external_ip),
        Column("Port(s)", _ports),
        AGE,
        wide("Selector", lambda service, _now: label_set(service.spec.selector)),
    )
    field_type: ClassVar[type[msgspec.Struct]] = ServiceFields
    field_names = ("spec.clusterIP", "spec.type")

    def fields(self, narrow: Any) -> Mapping[str, str]:
        return {"spec.clusterIP": narrow.spec.cluster_ip, "spec.type": narrow.spec.type}

    def default(self, new: Service, old: Service | None = None) -> Service:
        spec = new.spec
        changes: dict[str, Any] = {}
        if spec.type == "ExternalName":
            kept = _with_target_ports(spec.ports)
            return new if kept is spec.ports else replace(new, spec=replace(spec, ports=kept))
        if spec.session_affinity == "ClientIP":
            changes |= _affinity_changes(spec.session_affinity_config)
        elif spec.session_affinity == "None" and spec.session_affinity_config is not None:
            changes["session_affinity_config"] = None
        ports = _with_target_ports(spec.ports)
        if ports is not spec.ports:
            changes["ports"] = ports
        if spec.internal_traffic_policy is None:
            changes["internal_traffic_policy"] = "Cluster"
        if not spec.external_traffic_policy and service_specs.is_externally_accessible(spec):
            changes["external_traffic_policy"] = "Cluster"
        if spec.type == "LoadBalancer" and spec.allocate_load_balancer_node_ports is None:
            changes["allocate_load_balancer_node_ports"] = True
        return replace(new, spec=replace(spec, **changes)) if changes else new

    def prepare_for_create(self, new: Service) -> Service:
        # Upstream's allocator chooses the families, after it is settled who wrote which field.
        new = super().prepare_for_create(new)
        return replace(new, spec=_with_families(new.spec))

    def prepare_for_update(self, new: Service, old: Service) -> Service:
        spec = _with_families(service_updates.with_allocations_of(new.spec, old.spec))
        return replace(new, spec=spec, status=old.status)

    def validate(self, new: Service) -> Iterator[FieldError]:
        yield from service_specs.validate(new)

    def validate_update(self, new: Service, old: Service) -> Iterator[FieldError]:
        yield from service_updates.validate(new.spec, old.spec)
        yield from service_specs.validate(new, old)

    def validate_status_update(self, new: Service, old: Service) -> Iterator[FieldError]:
        yield from service_specs.validate_status(new, old)

    def prepare_for_status_update(self, new: Service, old: Service) -> Service:
        new = replace(new, spec=old.spec)
        points = new.status.load_balancer.ingress
        if new.spec.type != "LoadBalancer" or all(one.ip_mode is not None or not one.ip for one in points):
            return new
        # A default like any other, but for a status.
        ingress = tuple(replace(one, ip_mode="VIP") if one.ip and one.ip_mode is None else one for one in points)
        balancer = replace(new.status.load_balancer, ingress=ingress)
        return replace(new, status=replace(new.status, load_balancer=balancer))

    def warnings(self, new: Service, old: Service | None) -> Iterable[str]:
        yield from service_warnings.of_service(new)

    def validate_name(self, name: str, *, is_prefix: bool) -> names.Complaints:
        return names.name_is_dns_label(name, is_prefix=is_prefix)


def _with_families(spec: ServiceSpec) -> ServiceSpec:
    """The spec with its address families; a headless one that selects nothing is of both (upstream's allocator)."""
    if spec.type == "ExternalName" or (spec.ip_families and spec.ip_family_policy):
        return spec
    is_free = spec.cluster_ip == "None" and not spec.selector
    policy = spec.ip_family_policy or ("RequireDualStack" if is_free else "SingleStack")
    families = spec.ip_families or ("IPv6" if ":" in spec.cluster_ip else "IPv4",)
    if is_free and len(families) == 1 and policy != "SingleStack":
        families = (*families, "IPv6" if families[0] == "IPv4" else "IPv4")
    return replace(spec, ip_families=families, ip_family_policy=policy)


def _affinity_changes(config: SessionAffinityConfig | None) -> dict[str, Any]:
    if config is not None and config.client_ip is not None and config.client_ip.timeout_seconds is not None:
        return {}
    client_ip = ClientIPConfig(timeout_seconds=CLIENT_IP_TIMEOUT_SECONDS)
    return {"session_affinity_config": SessionAffinityConfig(client_ip=client_ip)}


def _with_target_ports(ports: tuple[ServicePort, ...]) -> tuple[ServicePort, ...]:
    if all(port.target_port not in (None, 0, "") for port in ports):
        return ports
    return tuple(replace(port, target_port=port.port) if port.target_port in (None, 0, "") else port for port in ports)
