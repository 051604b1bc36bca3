"""Which pods stand behind a Service, at which addresses and ports: what endpoints and slices are made of. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

from keelback.api import pods
from keelback.api.core_v1 import ObjectReference, Service, ServicePort
from keelback.client import Change
from keelback.controllers.observed import PodView


def addresses(pod: PodView) -> tuple[str, ...]:
    """The pod's addresses, one of each family."""
    if pod.status.pod_ips:
        return tuple(one.ip for one in pod.status.pod_ips if one.ip)
    return (pod.status.pod_ip,) if pod.status.pod_ip else ()


def address_of_family(pod: PodView, family: str) -> str:
    """The pod's address of `IPv4` or `IPv6`, or an empty string."""
    return next((ip for ip in addresses(pod) if family_of(ip) == family), "")


def family_of(ip: str) -> str:
    """`IPv4` or `IPv6`."""
    return f"IPv{ipaddress.ip_address(ip).version}"


def families(service: Service) -> tuple[str, ...]:
    """The address families in which a Service wants endpoints; before it has been told any, that of its cluster IP."""
    if service.spec.ip_families:
        return tuple(service.spec.ip_families)
    cluster_ip = service.spec.cluster_ip
    return (family_of(cluster_ip),) if cluster_ip and cluster_ip != "None" else ("IPv4",)


def is_candidate(pod: PodView) -> bool:
    """Whether the pod has a place among endpoints at all: it has an address and has not ended."""
    return bool(addresses(pod)) and not pods.is_terminal(pod)


def resolve_port(pod: PodView, port: ServicePort) -> int | None:
    """The number behind a Service's port on this pod; None where it names a container port the pod does not have."""
    target = port.target_port
    if target is None or target == 0 or target == "":
        return port.port
    if isinstance(target, int):
        return target
    sidecars = [one for one in pod.spec.init_containers if one.restart_policy == "Always"]
    for container in (*pod.spec.containers, *sidecars):
        for candidate in container.ports:
            if candidate.name == target and candidate.protocol == port.protocol:
                return candidate.container_port
    return None


def target_reference(pod: PodView) -> ObjectReference:
    """The pod, as an endpoint names it."""
    return ObjectReference(kind="Pod", namespace=pod.metadata.namespace, name=pod.metadata.name, uid=pod.metadata.uid)


def hostname(pod: PodView, service: Service) -> str:
    """The name under which a headless Service makes the pod known, if it does."""
    is_member = pod.spec.subdomain == service.metadata.name and pod.metadata.namespace == service.metadata.namespace
    return pod.spec.hostname if is_member else ""


def services_of(pod: PodView, services: Sequence[Service]) -> list[tuple[str, str]]:
    """The keys of the Services that select the pod."""
    return [
        (one.metadata.namespace, one.metadata.name)
        for one in services
        if selects(one.spec.selector, pod.metadata.labels)
    ]


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether labels satisfy a Service's selector; a Service without one selects nothing."""
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def matters(change: Change[PodView]) -> bool:
    """Whether a change of a pod can change any endpoint: most do not (restarts, probe times, annotations)."""
    if change.old is None or change.new is None:
        return True
    return _endpoint_facts(change.old) != _endpoint_facts(change.new)


def _endpoint_facts(pod: PodView) -> tuple[object, ...]:
    return (
        pod.metadata.labels,
        pod.metadata.deletion_timestamp is None,
        pods.is_ready(pod),
        pods.is_terminal(pod),
        addresses(pod),
        pod.spec.node_name,
        pod.spec.hostname,
        pod.spec.subdomain,
    )
