"""Ingresses."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from keelback.api.networking_v1 import HTTPIngressPath, Ingress, IngressBackend
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, invalid, not_supported, required
from keelback.registry.cells import NONE
from keelback.registry.strategy import AGE, Column, Strategy
from keelback.registry.workloads import text

_CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")


def _class(ingress: Ingress) -> str:
    return ingress.spec.ingress_class_name or ingress.metadata.annotations.get(_CLASS_ANNOTATION) or NONE


def _hosts(ingress: Ingress) -> str:
    hosts = [rule.host or "*" for rule in ingress.spec.rules]
    if not hosts:
        return "*"
    shown = ",".join(hosts[:3])
    return f"{shown} + {len(hosts) - 3} more..." if len(hosts) > 3 else shown


def _address(ingress: Ingress, _now: datetime) -> str:
    return ",".join(one.ip or one.hostname for one in ingress.status.load_balancer.ingress if one.ip or one.hostname)


class IngressStrategy(Strategy[Ingress]):
    kind = Ingress
    subresources = ("status",)
    columns = (
        text("Class", _class),
        text("Hosts", _hosts),
        Column("Address", _address),
        text("Ports", lambda one: "80, 443" if one.spec.tls else "80"),
        AGE,
    )

    def validate(self, new: Ingress) -> Iterator[FieldError]:
        spec = new.spec
        if not spec.rules and spec.default_backend is None:
            yield invalid("spec", None, "either `defaultBackend` or `rules` must be specified")
        if spec.default_backend is not None:
            yield from _backend(spec.default_backend, "spec.defaultBackend")
        for index, rule in enumerate(spec.rules):
            path = f"spec.rules[{index}]"
            if rule.host:
                check = names.wildcard_dns1123_subdomain if "*" in rule.host else names.dns1123_subdomain
                for complaint in names.ip_address(rule.host) and check(rule.host):
                    yield invalid(f"{path}.host", rule.host, complaint)
                if not names.ip_address(rule.host):
                    yield invalid(f"{path}.host", rule.host, "must be a DNS name, not an IP address")
            if rule.http is not None:
                if not rule.http.paths:
                    yield required(f"{path}.http.paths")
                for place, http_path in enumerate(rule.http.paths):
                    yield from _path(http_path, f"{path}.http.paths[{place}]")
        if spec.ingress_class_name:
            for complaint in names.dns1123_subdomain(spec.ingress_class_name):
                yield invalid("spec.ingressClassName", spec.ingress_class_name, complaint)


def _path(http_path: HTTPIngressPath, path: str) -> Iterator[FieldError]:
    if not http_path.path_type:
        yield required(f"{path}.pathType", "pathType must be specified")
    elif http_path.path_type not in _PATH_TYPES:
        yield not_supported(f"{path}.pathType", http_path.path_type, _PATH_TYPES)
    elif http_path.path_type == "ImplementationSpecific":
        if http_path.path and not http_path.path.startswith("/"):
            yield invalid(f"{path}.path", http_path.path, "must be an absolute path")
    else:
        if not http_path.path.startswith("/"):
            yield invalid(f"{path}.path", http_path.path, "must be an absolute path")
        for wrong in ("//", "/./", "/../", "%2f", "%2F"):
            if wrong in http_path.path:
                yield invalid(f"{path}.path", http_path.path, f"must not contain '{wrong}'")
    yield from _backend(http_path.backend, f"{path}.backend")


def _backend(backend: IngressBackend, path: str) -> Iterator[FieldError]:
    if backend.resource is not None and backend.service is not None:
        yield invalid(path, "", "cannot set both resource and service backends")
        return
    if backend.resource is not None:
        return
    if backend.service is None:
        yield invalid(path, "", "resource or service backend is required")
        return
    service = backend.service
    if not service.name:
        yield required(f"{path}.service.name")
    else:
        for complaint in names.dns1035_label(service.name) and names.dns1123_label(service.name):
            yield invalid(f"{path}.service.name", service.name, complaint)
    if service.port.name and service.port.number:
        yield invalid(path, "", "cannot set both port name & port number")
    elif service.port.name:
        for complaint in names.port_name(service.port.name):
            yield invalid(f"{path}.service.port.name", service.port.name, complaint)
    elif not service.port.number:
        yield required(path, "port name or number is required")
    else:
        for complaint in names.port_number(service.port.number):
            yield invalid(f"{path}.service.port.number", service.port.number, complaint)
