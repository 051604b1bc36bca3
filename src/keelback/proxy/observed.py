"""What a proxy reads of Services, EndpointSlices and Nodes."""

from __future__ import annotations

from keelback.api import core_v1, discovery_v1
from keelback.apimachinery.meta import Object, Value, named, narrow, written


class ServiceSpec(Value):
    cluster_ip: str = named("clusterIP", "")
    cluster_ips: tuple[str, ...] = named("clusterIPs", ())
    external_ips: tuple[str, ...] = named("externalIPs", ())
    external_traffic_policy: str = ""
    health_check_node_port: int = 0
    internal_traffic_policy: str | None = None
    load_balancer_source_ranges: tuple[str, ...] = ()
    ports: tuple[core_v1.ServicePort, ...] = ()
    session_affinity: str = written("None")
    session_affinity_config: core_v1.SessionAffinityConfig | None = None
    type: str = written("ClusterIP")


@narrow(core_v1.Service)
class Service(Object):
    spec: ServiceSpec = written(ServiceSpec())
    status: core_v1.ServiceStatus = written(core_v1.ServiceStatus())


class TargetRef(Value):
    uid: str = ""


class Endpoint(Value):
    addresses: tuple[str, ...] = ()
    conditions: discovery_v1.EndpointConditions = written(discovery_v1.EndpointConditions())
    hints: discovery_v1.EndpointHints | None = None
    node_name: str | None = None
    target_ref: TargetRef | None = None


@narrow(discovery_v1.EndpointSlice)
class EndpointSlice(Object):
    address_type: str = written("")
    endpoints: tuple[Endpoint, ...] | None = None
    ports: tuple[discovery_v1.EndpointPort, ...] | None = None


class NodeStatus(Value):
    addresses: tuple[core_v1.NodeAddress, ...] = ()
    conditions: tuple[core_v1.NodeCondition, ...] = ()


@narrow(core_v1.Node)
class Node(Object):
    status: NodeStatus = written(NodeStatus())
