"""The types of networking/v1: shape, defaults and merge keys, one class per upstream type."""

from __future__ import annotations

from typing import Annotated

from keelback.api.core_v1 import TypedLocalObjectReference
from keelback.apimachinery.meta import (
    Atomic,
    Condition,
    IntOrString,
    LabelSelector,
    ListMap,
    Object,
    Value,
    kind,
    written,
)


class IngressBackend(Value):
    resource: Annotated[TypedLocalObjectReference | None, Atomic()] = None
    service: IngressServiceBackend | None = None


class HTTPIngressPath(Value):
    backend: IngressBackend = written(IngressBackend())
    path: str = ""
    path_type: str = written("")


class HTTPIngressRuleValue(Value):
    paths: tuple[HTTPIngressPath, ...] = written(())


class ParentReference(Value):
    group: str = ""
    name: str = written("")
    namespace: str = ""
    resource: str = written("")


class IPAddressSpec(Value):
    parent_ref: ParentReference = written(ParentReference())


@kind("networking.k8s.io/v1", "ipaddresses", namespaced=False, short_names=("ip",))
class IPAddress(Object):
    spec: IPAddressSpec = written(IPAddressSpec())


class IPBlock(Value):
    cidr: str = written("")
    except_: tuple[str, ...] = ()


class IngressSpec(Value):
    default_backend: IngressBackend | None = None
    ingress_class_name: str | None = None
    rules: tuple[IngressRule, ...] = ()
    tls: tuple[IngressTLS, ...] = ()


class IngressLoadBalancerStatus(Value):
    ingress: tuple[IngressLoadBalancerIngress, ...] = ()


class IngressStatus(Value):
    load_balancer: IngressLoadBalancerStatus = written(IngressLoadBalancerStatus())


@kind("networking.k8s.io/v1", "ingresses", short_names=("ing",))
class Ingress(Object):
    spec: IngressSpec = written(IngressSpec())
    status: IngressStatus = written(IngressStatus())


class IngressClassSpec(Value):
    controller: str = ""
    parameters: IngressClassParametersReference | None = None


@kind("networking.k8s.io/v1", "ingressclasses", namespaced=False)
class IngressClass(Object):
    spec: IngressClassSpec = written(IngressClassSpec())


class IngressClassParametersReference(Value):
    api_group: str | None = None
    kind: str = written("")
    name: str = written("")
    namespace: str = ""
    scope: str = written("Cluster")


class IngressLoadBalancerIngress(Value):
    hostname: str = ""
    ip: str = ""
    ports: tuple[IngressPortStatus, ...] = ()


class IngressPortStatus(Value):
    error: str = ""
    port: int = written(0)
    protocol: str = written("")


class IngressRule(Value):
    host: str = ""
    http: HTTPIngressRuleValue | None = None


class ServiceBackendPort(Value):
    name: str = ""
    number: int = 0


class IngressServiceBackend(Value):
    name: str = written("")
    port: Annotated[ServiceBackendPort, Atomic()] = written(ServiceBackendPort())


class IngressTLS(Value):
    hosts: tuple[str, ...] = ()
    secret_name: str = ""


class NetworkPolicySpec(Value):
    egress: tuple[NetworkPolicyEgressRule, ...] = ()
    ingress: tuple[NetworkPolicyIngressRule, ...] = ()
    pod_selector: Annotated[LabelSelector, Atomic()] = written(LabelSelector())
    policy_types: tuple[str, ...] = ()


@kind("networking.k8s.io/v1", "networkpolicies", short_names=("netpol",))
class NetworkPolicy(Object):
    spec: NetworkPolicySpec = written(NetworkPolicySpec())


class NetworkPolicyEgressRule(Value):
    ports: tuple[NetworkPolicyPort, ...] = ()
    to: tuple[NetworkPolicyPeer, ...] = ()


class NetworkPolicyIngressRule(Value):
    from_: tuple[NetworkPolicyPeer, ...] = ()
    ports: tuple[NetworkPolicyPort, ...] = ()


class NetworkPolicyPeer(Value):
    ip_block: IPBlock | None = None
    namespace_selector: Annotated[LabelSelector | None, Atomic()] = None
    pod_selector: Annotated[LabelSelector | None, Atomic()] = None


class NetworkPolicyPort(Value):
    end_port: int | None = None
    port: IntOrString | None = None
    protocol: str = written("TCP")


class ServiceCIDRSpec(Value):
    cidrs: tuple[str, ...] = ()


class ServiceCIDRStatus(Value):
    conditions: Annotated[tuple[Condition, ...], ListMap("type", merge_key="type")] = ()


@kind("networking.k8s.io/v1", "servicecidrs", namespaced=False)
class ServiceCIDR(Object):
    spec: ServiceCIDRSpec = written(ServiceCIDRSpec())
    status: ServiceCIDRStatus = written(ServiceCIDRStatus())
