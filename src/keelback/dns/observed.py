"""What DNS reads of Services, EndpointSlices and Namespaces."""

from __future__ import annotations

from keelback.api import core_v1, discovery_v1
from keelback.apimachinery.meta import Object, Value, named, narrow, written


class ServiceSpec(Value):
    cluster_ip: str = named("clusterIP", "")
    cluster_ips: tuple[str, ...] = named("clusterIPs", ())
    external_name: str = ""
    ports: tuple[core_v1.ServicePort, ...] = ()
    type: str = written("ClusterIP")


@narrow(core_v1.Service)
class Service(Object):
    spec: ServiceSpec = written(ServiceSpec())


class Endpoint(Value):
    addresses: tuple[str, ...] = ()
    conditions: discovery_v1.EndpointConditions = written(discovery_v1.EndpointConditions())
    hostname: str | None = None


@narrow(discovery_v1.EndpointSlice)
class EndpointSlice(Object):
    address_type: str = written("")
    endpoints: tuple[Endpoint, ...] | None = None
    ports: tuple[discovery_v1.EndpointPort, ...] | None = None


@narrow(core_v1.Namespace)
class Namespace(Object):
    """Its existence is all that matters."""
