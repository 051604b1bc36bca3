"""What one asks of a pod. Shared by the scheduler, the controllers and the kubelet, so that they cannot disagree.

Nothing here does I/O and nothing asks for the time: it is given. Resource amounts are whole numbers: millicores for
cpu, base units for all others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from keelback.api import pod_demand
from keelback.api.conditions import Dated
from keelback.api.core_v1 import (
    Container,
    ContainerStatus,
    EphemeralContainer,
    Pod,
    PodSpec,
    PodStatus,
    ResourceRequirements,
)
from keelback.apimachinery import quantity
from keelback.apimachinery.meta import ObjectMeta, replace

MIRROR_ANNOTATION = "kubernetes.io/config.mirror"
CONFIG_SOURCE_ANNOTATION = "kubernetes.io/config.source"
CONFIG_HASH_ANNOTATION = "kubernetes.io/config.hash"

Amounts = Mapping[str, int]


class Phased(Protocol):
    """The part of a pod's status that tells where it is in its life."""

    @property
    def phase(self) -> str: ...


class HasPhase(Protocol):
    """Any pod type, narrow or whole, that names its phase."""

    @property
    def metadata(self) -> ObjectMeta: ...
    @property
    def status(self) -> Phased: ...


class Conditioned(Protocol):
    """The part of a pod's status that holds its conditions."""

    @property
    def conditions(self) -> Sequence[Dated]: ...


class HasConditions(Protocol):
    """Any pod type, narrow or whole, that names its conditions."""

    @property
    def status(self) -> Conditioned: ...


def is_terminal(pod: HasPhase) -> bool:
    """Whether all its containers have ended for good: nothing restarts it."""
    return pod.status.phase in ("Succeeded", "Failed")


def is_terminating(pod: HasPhase) -> bool:
    """Whether it has been asked to go."""
    return pod.metadata.deletion_timestamp is not None


def is_active(pod: HasPhase) -> bool:
    """Whether a controller counts it as one of its replicas."""
    return not is_terminal(pod) and not is_terminating(pod)


def condition(pod: HasConditions, kind: str) -> Dated | None:
    """The condition of that type, if it has been set."""
    return next((one for one in pod.status.conditions if one.type == kind), None)


def is_ready(pod: HasConditions) -> bool:
    """Whether its Ready condition is True: whether Services may send to it."""
    ready = condition(pod, "Ready")
    return ready is not None and ready.status == "True"


def is_available(pod: HasConditions, min_ready_seconds: int, now: datetime) -> bool:
    """Whether it has been Ready for at least `min_ready_seconds`."""
    ready = condition(pod, "Ready")
    if ready is None or ready.status != "True":
        return False
    if min_ready_seconds == 0:
        return True
    since = ready.last_transition_time
    return since is not None and since + timedelta(seconds=min_ready_seconds) <= now


def is_mirror(pod: Pod) -> bool:
    """Whether it is the API's picture of a static pod."""
    return MIRROR_ANNOTATION in pod.metadata.annotations


def is_static(pod: Pod) -> bool:
    """Whether it came from the node's own manifests and not from the API."""
    return pod.metadata.annotations.get(CONFIG_SOURCE_ANNOTATION, "api") != "api"


def is_restartable_init(container: Container) -> bool:
    """Whether an init container is a sidecar: started in order, then kept running."""
    return container.restart_policy == "Always"


def sidecars(spec: PodSpec) -> tuple[Container, ...]:
    """The restartable init containers, in order."""
    return tuple(container for container in spec.init_containers if is_restartable_init(container))


def restart_policy(container: Container | EphemeralContainer, spec: PodSpec, exit_code: int) -> str:
    """The policy for a container that ended so: its rules, its own policy, then the pod's (KEP-5307)."""
    for rule in container.restart_policy_rules:
        codes = rule.exit_codes
        if rule.action == "Restart" and codes is not None:
            listed = exit_code in codes.values
            if listed == (codes.operator == "In"):
                return "Always"
    return container.restart_policy or spec.restart_policy


def all_containers(spec: PodSpec) -> Iterator[Container]:
    """Init containers, then containers; ephemeral ones are another type and are not among them."""
    yield from spec.init_containers
    yield from spec.containers


def container(spec: PodSpec, name: str) -> Container | None:
    """The container or init container of that name."""
    return next((one for one in all_containers(spec) if one.name == name), None)


def container_names(spec: PodSpec) -> tuple[str, ...]:
    """The names of all its containers: init, main and ephemeral."""
    return (
        *(one.name for one in spec.init_containers),
        *(one.name for one in spec.containers),
        *(one.name for one in spec.ephemeral_containers),
    )


def container_status(status: PodStatus, name: str) -> ContainerStatus | None:
    """What is reported of the container of that name, of whatever sort it is."""
    for group in (status.container_statuses, status.init_container_statuses, status.ephemeral_container_statuses):
        for one in group:
            if one.name == name:
                return one
    return None


def with_containers(pod: Pod, change: Callable[[Container], Container]) -> Pod:
    """The pod with `change` made to each container and init container."""
    spec = replace(
        pod.spec,
        containers=tuple(change(one) for one in pod.spec.containers),
        init_containers=tuple(change(one) for one in pod.spec.init_containers),
    )
    return replace(pod, spec=spec)


def grace_period_seconds(pod: Pod) -> int:
    """How long it may take to stop: what the deletion says, else what its spec says."""
    if pod.metadata.deletion_timestamp is not None and pod.metadata.deletion_grace_period_seconds is not None:
        return pod.metadata.deletion_grace_period_seconds
    period = pod.spec.termination_grace_period_seconds
    return 30 if period is None else period


def full_name(pod: Pod) -> str:
    """`name_namespace`, as the kubelet's logs and messages write it."""
    return f"{pod.metadata.name}_{pod.metadata.namespace}"


# Resources


def amount(resource: str, value: str) -> int:
    """A quantity as a whole number: millicores for cpu, else base units; rounded up."""
    return quantity.milli_value(value) if resource == "cpu" else quantity.value(value)


def amounts(resources: Mapping[str, str]) -> dict[str, int]:
    """A resource list as whole numbers."""
    return {name: amount(name, value) for name, value in resources.items()}


def requests(pod: Pod, *, use_status: bool = False) -> dict[str, int]:
    """What it asks of a node in all, its overhead included.

    With `use_status` a container being resized counts at the most of what it asks for, what it was given and what it
    has.
    """
    statuses = _statuses_by_name(pod.status) if use_status else {}

    def of(one: Container) -> dict[str, int]:
        wanted = amounts(one.resources.requests)
        status = statuses.get(one.name)
        if status is not None:
            pod_demand.raise_to(wanted, amounts(status.allocated_resources))
            if status.resources is not None:
                pod_demand.raise_to(wanted, amounts(status.resources.requests))
        return wanted

    return _total(pod.spec, of, lambda resources: amounts(resources.requests))


def limits(pod: Pod) -> dict[str, int]:
    """The most it may use in all, overhead included; an unlimited container adds nothing."""
    return _total(pod.spec, lambda one: amounts(one.resources.limits), lambda resources: amounts(resources.limits))


def _total(
    spec: PodSpec,
    of: Callable[[Container], dict[str, int]],
    of_pod: Callable[[ResourceRequirements], dict[str, int]],
) -> dict[str, int]:
    total = pod_demand.total(spec.containers, spec.init_containers, of)
    if spec.resources is not None:
        # Pod-level resources replace the sum of the containers', for the resources they name.
        total.update(of_pod(spec.resources))
    if spec.overhead:
        pod_demand.add_to(total, amounts(spec.overhead))
    return total


def _statuses_by_name(status: PodStatus) -> dict[str, ContainerStatus]:
    return {one.name: one for one in (*status.init_container_statuses, *status.container_statuses)}


def host_ports(spec: PodSpec) -> frozenset[tuple[str, str, int]]:
    """The (host IP, protocol, port) triples it takes on its node."""
    return frozenset(
        (port.host_ip or "0.0.0.0", port.protocol or "TCP", port.host_port)  # noqa: S104 - the wildcard is what the API means by none
        for one in (*spec.containers, *sidecars(spec))
        for port in one.ports
        if port.host_port
    )


def qos_class(pod: Pod) -> str:
    """Guaranteed, Burstable or BestEffort: what the API has written or, before that, what the spec gives."""
    if pod.status.qos_class:
        return pod.status.qos_class
    return compute_qos_class(pod.spec)


def compute_qos_class(spec: PodSpec) -> str:
    """The class that the spec gives; it never changes afterwards."""
    pod_level = spec.resources
    if pod_level is not None and (pod_level.requests or pod_level.limits):
        parts: Iterable[ResourceRequirements] = (pod_level,)
    else:
        parts = (one.resources for one in all_containers(spec))
    requested: dict[str, int] = {}
    limited: dict[str, int] = {}
    guaranteed = True
    for resources in parts:
        pod_demand.add_to(requested, _computing(resources.requests))
        limit = _computing(resources.limits)
        pod_demand.add_to(limited, limit)
        if len(limit) < 2:
            guaranteed = False
    if not requested and not limited:
        return "BestEffort"
    # A limit without a request was made its request by defaulting, so plain equality is the rule.
    return "Guaranteed" if guaranteed and requested == limited else "Burstable"


def _computing(resources: Mapping[str, str]) -> dict[str, int]:
    found = ((name, amount(name, resources[name])) for name in ("cpu", "memory") if name in resources)
    return {name: number for name, number in found if number > 0}
