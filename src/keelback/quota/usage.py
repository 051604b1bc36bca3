"""What an object uses of a quota. Pure: the API server and the quota controller count alike because both count here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from keelback.api import pod_demand
from keelback.api.core_v1 import Container, PersistentVolumeClaim, Pod, ResourceQuota, Service
from keelback.api.pods import is_terminal
from keelback.apimachinery import quantity
from keelback.apimachinery.meta import Kind
from keelback.quota import amounts
from keelback.quota.amounts import ONE, Amounts
from keelback.quota.scopes import matches

# Resources that had a quota name of their own before `count/...`.
_LEGACY_NAMES = frozenset(
    {
        "configmaps",
        "persistentvolumeclaims",
        "replicationcontrollers",
        "resourcequotas",
        "secrets",
        "services",
    }
)
_COMPUTE = frozenset({"cpu", "memory", "ephemeral-storage"})
_MUST_BE_SPECIFIED = frozenset({"cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"})
_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"


def usage(kind: Kind, obj: object, now: datetime) -> dict[str, quantity.Quantity]:
    """Everything one object uses, by the names that quotas know."""
    used = {f"count/{kind.resource}": ONE}
    if not kind.group and kind.plural in _LEGACY_NAMES:
        used[kind.plural] = ONE
    if isinstance(obj, Pod):
        used.update(_pod(obj, now))
    elif isinstance(obj, Service):
        used.update(_service(obj))
    elif isinstance(obj, PersistentVolumeClaim):
        used.update(_claim(obj))
    return used


def total(quota: ResourceQuota, objects: Iterable[tuple[Kind, object]], now: datetime) -> dict[str, str]:
    """What `status.used` should say, given every object in the namespace."""
    hard = quota.spec.hard
    used = dict.fromkeys(hard, quantity.ZERO)
    for kind, obj in objects:
        if matches(quota, obj):
            used = amounts.add(used, amounts.masked(usage(kind, obj, now), hard))
    return amounts.written(used)


def unspecified(required: Iterable[str], pod: Pod) -> dict[str, list[str]]:
    """Compute resources under quota that containers leave open, each with the containers that do so.

    A quota on cpu or memory can only be kept if every container says how much it wants.
    """
    needed = _MUST_BE_SPECIFIED.intersection(required)
    missing: dict[str, list[str]] = {}
    if not needed or (pod.spec.resources is not None and (pod.spec.resources.requests or pod.spec.resources.limits)):
        return missing
    for container in (*pod.spec.containers, *pod.spec.init_containers):
        resources = container.resources
        said = set(_compute_names(amounts.parse(resources.requests), amounts.parse(resources.limits)))
        for name in needed - said:
            missing.setdefault(name, []).append(container.name)
    return {name: sorted(names) for name, names in sorted(missing.items())}


def _pod(pod: Pod, now: datetime) -> dict[str, quantity.Quantity]:
    if not _is_counted(pod, now):
        return {}
    requests = _demand(pod, lambda container: container.resources.requests)
    limits = _demand(pod, lambda container: container.resources.limits)
    if pod.spec.resources is not None:
        # What is said for the pod as a whole goes before the sum of its containers.
        requests |= amounts.parse(pod.spec.resources.requests)
        limits |= amounts.parse(pod.spec.resources.limits)
    overhead = amounts.parse(pod.spec.overhead)
    requests = amounts.add(requests, overhead)
    limits = {name: amount + overhead[name] if name in overhead else amount for name, amount in limits.items()}
    return {"pods": ONE, **_compute_names(requests, limits)}


def _compute_names(requests: Amounts, limits: Amounts) -> dict[str, quantity.Quantity]:
    used: dict[str, quantity.Quantity] = {}
    for name, amount in requests.items():
        used[f"requests.{name}"] = amount
        if name in _COMPUTE or name.startswith("hugepages-"):
            used[name] = amount
    for name, amount in limits.items():
        if name in _COMPUTE:
            used[f"limits.{name}"] = amount
    return used


def _demand(pod: Pod, of: Callable[[Container], Mapping[str, str]]) -> dict[str, quantity.Quantity]:
    return pod_demand.total(pod.spec.containers, pod.spec.init_containers, lambda one: amounts.parse(of(one)))


def _is_counted(pod: Pod, now: datetime) -> bool:
    """Finished pods and those that should have been gone by now free their resources, but are still objects."""
    if is_terminal(pod):
        return False
    deleted, grace = pod.metadata.deletion_timestamp, pod.metadata.deletion_grace_period_seconds
    return deleted is None or grace is None or now <= deleted + timedelta(seconds=grace)


def _service(service: Service) -> Iterator[tuple[str, quantity.Quantity]]:
    spec = service.spec
    if spec.type == "LoadBalancer":
        yield "services.loadbalancers", ONE
    has_node_ports = spec.type == "NodePort" or (
        spec.type == "LoadBalancer" and spec.allocate_load_balancer_node_ports is not False
    )
    if has_node_ports:
        yield "services.nodeports", quantity.of(len(spec.ports))
    elif spec.type == "LoadBalancer":
        yield "services.nodeports", quantity.of(sum(1 for port in spec.ports if port.node_port))


def _claim(claim: PersistentVolumeClaim) -> Iterator[tuple[str, quantity.Quantity]]:
    name = claim.metadata.annotations.get(_CLASS_ANNOTATION) or claim.spec.storage_class_name
    prefix = f"{name}.storageclass.storage.k8s.io/"
    if name:
        yield f"{prefix}persistentvolumeclaims", ONE
    size = claim.spec.resources.requests.get("storage")
    if size is None:
        return
    requested = max(quantity.parse(size), quantity.parse(claim.status.allocated_resources.get("storage", "0")))
    yield "requests.storage", requested
    if name:
        yield f"{prefix}requests.storage", requested
