"""What every cluster has from its first start: system namespaces, roles, priority classes, the kubernetes Service."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from keelback.api import core_v1, discovery_v1, networking_v1, rbac_v1, scheduling_v1
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Object, ObjectMeta
from keelback.auth import bootstrap_policy, bootstrap_policy_reconciliation
from keelback.client import Client

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
PRIORITY_CLASSES = (
    (
        "system-node-critical",
        2000001000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
    (
        "system-cluster-critical",
        2000000000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
)

# As kubeadm: the group of the administrators' certificates, and of the one with which kubelets are asked.
_ADMINISTRATORS = rbac_v1.ClusterRoleBinding(
    metadata=ObjectMeta(name="kubeadm:cluster-admins"),
    role_ref=rbac_v1.RoleRef(api_group="rbac.authorization.k8s.io", kind="ClusterRole", name="cluster-admin"),
    subjects=(rbac_v1.Subject(api_group="rbac.authorization.k8s.io", kind="Group", name="kubeadm:cluster-admins"),),
)


async def ensure(client: Client, *, service_ip: str, dns_ip: str, service_cidr: str, endpoint: tuple[str, int]) -> None:
    """Create what is missing; run it at every start."""
    for name in NAMESPACES:
        await _ensure(client, core_v1.Namespace(metadata=ObjectMeta(name=name)))
    await _ensure_policy(client)
    await _ensure(client, _ADMINISTRATORS)
    for name, value, description in PRIORITY_CLASSES:
        await _ensure(
            client,
            scheduling_v1.PriorityClass(metadata=ObjectMeta(name=name), value=value, description=description),
        )
    await _ensure(
        client,
        networking_v1.ServiceCIDR(
            metadata=ObjectMeta(name="kubernetes"), spec=networking_v1.ServiceCIDRSpec(cidrs=(service_cidr,))
        ),
    )
    await _ensure_services(client, service_ip, dns_ip, endpoint)


async def _ensure(client: Client, obj: Object) -> None:
    with contextlib.suppress(errors.AlreadyExists):
        await client.create(obj)


async def _ensure_policy(client: Client) -> None:
    existing: list[Object] = []
    for kind in (rbac_v1.ClusterRole, rbac_v1.ClusterRoleBinding, rbac_v1.Role, rbac_v1.RoleBinding):
        existing.extend((await client.list(kind)).items)
    planned = bootstrap_policy_reconciliation.plan(bootstrap_policy.objects(), existing)  # type: ignore[arg-type]
    for obj in planned.create:
        await _ensure(client, obj)
    for obj in planned.update:
        await client.update(obj)
    for obj in planned.recreate:
        await client.delete(type(obj), obj.metadata.name, obj.metadata.namespace)
        await _ensure(client, obj)


async def _ensure_services(client: Client, service_ip: str, dns_ip: str, endpoint: tuple[str, int]) -> None:
    labels = {"component": "apiserver", "provider": "kubernetes"}
    port = core_v1.ServicePort(name="https", port=443, target_port=endpoint[1])
    await _ensure(
        client,
        core_v1.Service(
            metadata=ObjectMeta(name="kubernetes", namespace="default", labels=labels),
            spec=core_v1.ServiceSpec(cluster_ip=service_ip, cluster_ips=(service_ip,), ports=(port,)),
        ),
    )
    dns_ports = (
        core_v1.ServicePort(name="dns", port=53, protocol="UDP", target_port=53),
        core_v1.ServicePort(name="dns-tcp", port=53, target_port=53),
    )
    await _ensure(
        client,
        core_v1.Service(
            metadata=ObjectMeta(
                name="kube-dns",
                namespace="kube-system",
                labels={
                    "k8s-app": "kube-dns",
                    "kubernetes.io/cluster-service": "true",
                    "kubernetes.io/name": "CoreDNS",
                },
            ),
            spec=core_v1.ServiceSpec(cluster_ip=dns_ip, cluster_ips=(dns_ip,), ports=dns_ports),
        ),
    )
    await _replace_endpoint(client, endpoint)


async def _replace_endpoint(client: Client, endpoint: tuple[str, int]) -> None:
    """The API server's own address, as the endpoint of the kubernetes Service."""
    address, port = endpoint
    subsets = (
        core_v1.EndpointSubset(
            addresses=(core_v1.EndpointAddress(ip=address),), ports=(core_v1.EndpointPort(name="https", port=port),)
        ),
    )
    labels = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    endpoints = core_v1.Endpoints(
        metadata=ObjectMeta(name="kubernetes", namespace="default", labels=labels), subsets=subsets
    )
    slice_ = discovery_v1.EndpointSlice(
        metadata=ObjectMeta(
            name="kubernetes", namespace="default", labels={"kubernetes.io/service-name": "kubernetes"}
        ),
        address_type="IPv4",
        endpoints=(
            discovery_v1.Endpoint(addresses=(address,), conditions=discovery_v1.EndpointConditions(ready=True)),
        ),
        ports=(discovery_v1.EndpointPort(name="https", port=port, protocol="TCP"),),
    )
    objects: Sequence[Object] = (endpoints, slice_)
    for obj in objects:
        try:
            await client.create(obj)
        except errors.AlreadyExists:
            await client.update(obj)
