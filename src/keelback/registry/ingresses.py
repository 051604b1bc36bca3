"""Ingresses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from keelback.api.networking_v1 import HTTPIngressPath, Ingress, IngressBackend, IngressTLS
from keelback.apimachinery import addresses, names
from keelback.apimachinery.errors import FieldError, invalid, not_supported, required
from keelback.registry import local_references
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
    checks_metadata_as_new = True
    storage_path = "ingress"
    subresources = ("status",)
    columns = (
        text("Class", _class),
        text("Hosts", _hosts),
        Column("Address", _address),
        text("Ports", lambda one: "80, 443" if one.spec.tls else "80"),
        AGE,
    )

    def warnings(self, new: Ingress, old: Ingress | None) -> Iterable[str]:
        if old is None and new.spec.ingress_class_name is None and _CLASS_ANNOTATION in new.metadata.annotations:
            yield f"annotation \"{_CLASS_ANNOTATION}\" is deprecated, please use 'spec.ingressClassName' instead"

    def validate(self, new: Ingress) -> Iterator[FieldError]:
        yield from _problems(new)
        said, wanted = new.metadata.annotations.get(_CLASS_ANNOTATION), new.spec.ingress_class_name
        if said is not None and wanted is not None and said != wanted:
            # As upstream says the path: without `metadata`.
            path = f"annotations.{_CLASS_ANNOTATION}"
            yield invalid(path, said, "must match `ingressClassName` when both are specified")

    def validate_update(self, new: Ingress, old: Ingress) -> Iterator[FieldError]:
        return _problems(new)

    def validate_status_update(self, new: Ingress, old: Ingress) -> Iterator[FieldError]:
        kept = {one.ip for one in old.status.load_balancer.ingress}
        for index, one in enumerate(new.status.load_balancer.ingress):
            path = f"status.loadBalancer.ingress[{index}]"
            if one.ip:
                for complaint in addresses.ip_address(one.ip, kept):
                    yield invalid(f"{path}.ip", one.ip, complaint)
            if one.hostname:
                for complaint in names.dns1123_subdomain(one.hostname):
                    yield invalid(f"{path}.hostname", one.hostname, complaint)
                if addresses.parsed(one.hostname) is not None:
                    yield invalid(f"{path}.hostname", one.hostname, "must be a DNS name, not an IP address")


def _problems(new: Ingress) -> Iterator[FieldError]:
    spec = new.spec
    if not spec.rules and spec.default_backend is None:
        yield invalid("spec", None, "either `defaultBackend` or `rules` must be specified")
    if spec.default_backend is not None:
        yield from _backend(spec.default_backend, "spec.defaultBackend")
    for index, rule in enumerate(spec.rules):
        path = f"spec.rules[{index}]"
        if rule.host:
            if addresses.parsed(rule.host) is not None:
                yield invalid(f"{path}.host", rule.host, "must be a DNS name, not an IP address")
            check = names.wildcard_dns1123_subdomain if "*" in rule.host else names.dns1123_subdomain
            for complaint in check(rule.host):
                yield invalid(f"{path}.host", rule.host, complaint)
        if rule.http is not None:
            if not rule.http.paths:
                yield required(f"{path}.http.paths")
            for place, http_path in enumerate(rule.http.paths):
                yield from _path(http_path, f"{path}.http.paths[{place}]")
    yield from _tls(spec.tls, "spec.tls")
    if spec.ingress_class_name is not None:
        for complaint in names.dns1123_subdomain(spec.ingress_class_name):
            yield invalid("spec.ingressClassName", spec.ingress_class_name, complaint)


def _path(http_path: HTTPIngressPath, path: str) -> Iterator[FieldError]:
    if not http_path.path_type:
        yield required(f"{path}.pathType", "pathType must be specified")
        return
    if http_path.path_type not in _PATH_TYPES:
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
        for wrong in ("/..", "/."):
            if http_path.path.endswith(wrong):
                yield invalid(f"{path}.path", http_path.path, f"cannot end with '{wrong}'")
    yield from _backend(http_path.backend, f"{path}.backend")


def _tls(tls: Sequence[IngressTLS], path: str) -> Iterator[FieldError]:
    for index, one in enumerate(tls):
        for place, host in enumerate(one.hosts):
            check = names.wildcard_dns1123_subdomain if "*" in host else names.dns1123_subdomain
            for complaint in check(host):
                yield invalid(f"{path}[{index}].hosts[{place}]", host, complaint)
        if one.secret_name:
            for complaint in names.dns1123_subdomain(one.secret_name):
                yield invalid(f"{path}[{index}].secretName", one.secret_name, complaint)


def _backend(backend: IngressBackend, path: str) -> Iterator[FieldError]:
    if backend.resource is not None and backend.service is not None:
        yield invalid(path, "", "cannot set both resource and service backends")
        return
    if backend.resource is not None:
        yield from local_references.problems(backend.resource, f"{path}.resource")
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
