"""What every cluster has from its first start: system namespaces, roles, priority classes, the kubernetes Service, and
for aggregated API servers the authority that signs clients' certificates."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

from keelback.api import conditions, core_v1, networking_v1, rbac_v1, scheduling_v1
from keelback.api.flowcontrol_v1 import FlowSchema, PriorityLevelConfiguration
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Condition, Object, ObjectMeta, replace
from keelback.apiserver import endpoint_leases
from keelback.apiserver.service_addresses import DEFAULT_CIDR
from keelback.auth import bootstrap_policy, bootstrap_policy_reconciliation
from keelback.client import Client
from keelback.component.logs import logger
from keelback.concurrency.clock import Clock
from keelback.registry import bootstrap_flow_control

_log = logger("initial_objects")
_AT_ONCE = 16
_ATTEMPTS = 10
_AGAIN_SECONDS = 0.1
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


async def ensure(
    client: Client,
    clock: Clock,
    *,
    service_ip: str,
    dns_ip: str,
    service_cidr: str,
    endpoint: tuple[str, int],
    published: Mapping[str, str],
    is_alone: bool = True,
    gates: Mapping[str, bool] = MappingProxyType({}),
) -> None:
    """Create what is missing; run it at every start, of several servers at once if need be.

    `published` is what aggregated API servers are told of whom to believe.

    A server that is alone writes its own `endpoint` for the kubernetes Service; others leave that to `endpoint_leases`.
    """
    for name in NAMESPACES:
        await _ensure(client, core_v1.Namespace(metadata=ObjectMeta(name=name)))
    await _agreed(clock, lambda: _ensure_policy(client, gates))
    await _ensure(client, _ADMINISTRATORS)
    for name, value, description in PRIORITY_CLASSES:
        await _ensure(
            client,
            scheduling_v1.PriorityClass(metadata=ObjectMeta(name=name), value=value, description=description),
        )
    await _agreed(clock, lambda: _ensure_flow_control(client))
    await _agreed(clock, lambda: _ensure_service_cidr(client, service_cidr, clock.now()))
    await _agreed(clock, lambda: _ensure_services(client, service_ip, dns_ip, endpoint))
    if is_alone:
        await _replace_endpoint(client, endpoint)
    await _agreed(clock, lambda: _publish_authentication(client, published))


async def _agreed(clock: Clock, step: Callable[[], Awaitable[None]]) -> None:
    """Do a step, anew where another server, which does the same, came between: it looks first at what is there."""
    for attempt in range(_ATTEMPTS):
        try:
            await step()
        except (errors.Conflict, errors.NotFound, errors.Invalid):
            # Invalid: the other has an address already, and not yet the Service that gets it.
            if attempt == _ATTEMPTS - 1:
                raise
            await clock.sleep(_AGAIN_SECONDS)
        else:
            return


async def _ensure(client: Client, obj: Object) -> None:
    with contextlib.suppress(errors.AlreadyExists):
        await client.create(obj)


async def _ensure_service(client: Client, service: core_v1.Service) -> None:
    """As `_ensure`, but for what is refused, before its name is looked at, because it has its address already."""
    try:
        await client.get(core_v1.Service, service.metadata.name, service.metadata.namespace)
    except errors.NotFound:
        await _ensure(client, service)


async def _ensure_all(client: Client, objects: Iterable[Object]) -> None:
    """Several at a time: the store writes them in groups."""
    waiting = list(objects)
    while waiting:
        await asyncio.gather(*(_ensure(client, one) for one in waiting[:_AT_ONCE]))
        del waiting[:_AT_ONCE]


async def _ensure_flow_control(client: Client) -> None:
    schemas = (await client.list(FlowSchema)).items
    levels = (await client.list(PriorityLevelConfiguration)).items
    planned = bootstrap_flow_control.plan(schemas, levels)
    await _ensure_all(client, planned.create)
    for one in planned.update:
        await client.update(one)


async def _ensure_service_cidr(client: Client, service_cidr: str, now: datetime) -> None:
    """The range of the cluster's start, which is ready without anybody's saying so."""
    ready = Condition(
        type="Ready",
        status="True",
        message="Kubernetes default Service CIDR is ready",
        last_transition_time=now.replace(microsecond=0),
    )
    made = networking_v1.ServiceCIDR(
        metadata=ObjectMeta(name=DEFAULT_CIDR), spec=networking_v1.ServiceCIDRSpec(cidrs=(service_cidr,))
    )
    try:
        made = await client.create(made)
    except errors.AlreadyExists:
        made = await client.get(networking_v1.ServiceCIDR, DEFAULT_CIDR)
    if conditions.find(made.status.conditions, "Ready") is None:
        said = replace(made, status=networking_v1.ServiceCIDRStatus(conditions=(*made.status.conditions, ready)))
        await client.update(said, subresource="status")


async def _ensure_policy(client: Client, gates: Mapping[str, bool]) -> None:
    existing: list[Object] = []
    for kind in (rbac_v1.ClusterRole, rbac_v1.ClusterRoleBinding, rbac_v1.Role, rbac_v1.RoleBinding):
        existing.extend((await client.list(kind)).items)
    planned = bootstrap_policy_reconciliation.plan(bootstrap_policy.objects(gates), existing)  # type: ignore[arg-type]
    await _ensure_all(client, planned.create)
    for obj in planned.update:
        await client.update(obj)
    for obj in planned.recreate:
        await client.delete(type(obj), obj.metadata.name, obj.metadata.namespace)
        await _ensure(client, obj)


async def _ensure_services(client: Client, service_ip: str, dns_ip: str, endpoint: tuple[str, int]) -> None:
    labels = {"component": "apiserver", "provider": "kubernetes"}
    port = core_v1.ServicePort(name="https", port=443, target_port=endpoint[1])
    await _ensure_service(
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
    await _ensure_service(
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


async def _replace_endpoint(client: Client, endpoint: tuple[str, int]) -> None:
    """The API server's own address, as the endpoint of the kubernetes Service."""
    address, port = endpoint
    objects: Sequence[Object] = (
        endpoint_leases.endpoints((address,), port),
        endpoint_leases.endpoint_slice((address,), port),
    )
    for obj in objects:
        try:
            await client.create(obj)
        except errors.AlreadyExists:
            await client.update(obj)


async def _publish_authentication(client: Client, wanted: Mapping[str, str]) -> None:
    """Where aggregated API servers look for whom to believe; what others have put there stays."""
    name, namespace = "extension-apiserver-authentication", "kube-system"
    try:
        current = await client.get(core_v1.ConfigMap, name, namespace)
    except errors.NotFound:
        await _ensure(client, core_v1.ConfigMap(metadata=ObjectMeta(name=name, namespace=namespace), data=wanted))
        return
    if not current.data.items() >= wanted.items():
        try:
            await client.update(replace(current, data={**current.data, **wanted}))
        except errors.Conflict:
            raise
        except errors.StatusError as error:  # such as: it has been made immutable
            _log.warning("The authority of client certificates was not published", error=str(error))
