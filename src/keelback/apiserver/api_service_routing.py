"""Where an APIService's requests go: the address behind its Service, and how that is dialled.

To an endpoint of the Service, as upstream with --enable-aggregator-routing, or to its cluster IP, which means something
only on a machine with a service proxy.
"""

from __future__ import annotations

import random
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from keelback.admission.webhook_reviews import WebhookFailure
from keelback.api.apiregistration_v1 import APIServiceSpec, ServiceReference
from keelback.api.core_v1 import Service
from keelback.apimachinery import errors
from keelback.apiserver.lookup import CacheLookup
from keelback.apiserver.webhook_services import WebhookServices
from keelback.client.https import HTTPSTransport, client_context
from keelback.concurrency.clock import Clock

_EXTERNAL = "ExternalName"


class NoRouteError(Exception):
    """A Service that leads nowhere; the text says why, in upstream's words."""


class CertificateProblem(Exception):
    """A caBundle, or the proxy's own certificate, with which no connection can be made."""


@dataclass(frozen=True, slots=True)
class Target:
    """An address behind a Service. An external one has a name, and is not reached through the cluster's network."""

    host: str
    port: int
    is_external: bool = False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class ServiceRouting:
    """Finds the target of a ServiceReference."""

    def __init__(self, lookup: CacheLookup, chance: random.Random, *, to_endpoints: bool) -> None:
        self._lookup = lookup
        self._endpoints = WebhookServices(lookup, chance)
        self._to_endpoints = to_endpoints

    async def target(self, reference: ServiceReference) -> Target:
        """One of the addresses behind a Service's port. Raises NoRouteError."""
        try:
            service = await self._lookup.get(Service, reference.name, reference.namespace)
            if service.spec.type == _EXTERNAL:
                return Target(service.spec.external_name, reference.port, is_external=True)
            if not self._to_endpoints:
                return _cluster_ip(service, reference)
            host, port = await self._endpoints.address(reference.namespace, reference.name, reference.port)
        except errors.NotFound as error:
            raise NoRouteError(f'service "{reference.name}" not found') from error
        except WebhookFailure as error:
            raise NoRouteError(str(error)) from error
        return Target(host, port)


def _cluster_ip(service: Service, reference: ServiceReference) -> Target:
    if service.spec.cluster_ip in ("", "None"):
        raise NoRouteError('cannot route to service with ClusterIP "None"')
    if all(one.port != reference.port for one in service.spec.ports):
        raise NoRouteError(f'no service port {reference.port} found for service "{reference.name}"')
    return Target(service.spec.cluster_ip, reference.port)


@dataclass(frozen=True, slots=True)
class Dialling:
    """How aggregated servers are reached: by which route, from which network, and with which certificate of the proxy.

    Without a certificate these servers have no reason to believe who the proxy says is asking.
    """

    routing: ServiceRouting
    clock: Clock
    certificate: Path | None = None
    key: Path | None = None
    make_socket: Callable[[], socket.socket] | None = None

    def certificate_time(self) -> tuple[int, ...]:
        """Changes when the proxy's certificate has been renewed."""
        paths = [one for one in (self.certificate, self.key) if one is not None]
        try:
            return tuple(one.stat().st_mtime_ns for one in paths)
        except FileNotFoundError:
            return ()

    def context(self, spec: APIServiceSpec, *, verifies: bool = True) -> ssl.SSLContext:
        """What an APIService says of its server's certificate. Raises CertificateProblem."""
        insecure = spec.insecure_skip_tls_verify or not verifies
        try:
            ca_data = spec.ca_bundle.decode() if spec.ca_bundle else None
            return client_context(ca_data, self.certificate, self.key, insecure=insecure)
        except (ssl.SSLError, ValueError) as error:
            raise CertificateProblem("unable to load root certificates: unable to parse bytes as PEM block") from error
        except OSError as error:
            raise CertificateProblem(f"the proxy's client certificate cannot be read: {error}") from error

    def transport(self, reference: ServiceReference, target: Target, context: ssl.SSLContext) -> HTTPSTransport:
        """A transport to a target, which must show a certificate of the Service's name where one is asked for."""
        name = f"{reference.name}.{reference.namespace}.svc"
        return HTTPSTransport(
            f"https://{target}",
            context,
            headers={"host": name},
            server_name=name,
            make_socket=None if target.is_external else self.make_socket,
            clock=self.clock,
        )
