"""Small pod plugins that are off by default: tolerations a namespace allows, tolerations for extended resources, and
the topology of required anti-affinity."""

from __future__ import annotations

from typing import Final

import msgspec

from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest, Operation, Reader
from keelback.api import pods
from keelback.api.core_v1 import Namespace, Pod, Toleration
from keelback.apimachinery.meta import Object, Value, narrow, replace

_DEFAULT_TOLERATIONS = "scheduler.alpha.kubernetes.io/defaultTolerations"
_WHITELIST = "scheduler.alpha.kubernetes.io/tolerationsWhitelist"
_HOSTNAME = "kubernetes.io/hostname"
_MEMORY_PRESSURE: Final = Toleration(key="node.kubernetes.io/memory-pressure", operator="Exists", effect="NoSchedule")


@narrow(Namespace)
class _NamespaceAnnotations(Object):
    """A namespace, of which only the annotations are of interest."""


class PodTolerations(Value):
    """The tolerations of all namespaces that have none of their own: what pods are given, and what they may have."""

    default: tuple[Toleration, ...] = ()
    whitelist: tuple[Toleration, ...] = ()


NO_TOLERATIONS: Final = PodTolerations()


class PodTolerationRestriction(AdmissionPlugin):
    """Adds a namespace's default tolerations, and refuses those that its whitelist lacks."""

    name = "PodTolerationRestriction"
    resources = frozenset({"pods"})
    operations = frozenset({Operation.CREATE, Operation.UPDATE})

    def __init__(self, reader: Reader, cluster: PodTolerations = NO_TOLERATIONS) -> None:
        self._reader = reader
        self._cluster = cluster

    async def admit(self, request: AdmissionRequest) -> Pod:
        pod = request.new(Pod)
        more: tuple[Toleration, ...] = ()
        if request.operation is Operation.CREATE:
            defaults = await self._tolerations(request, _DEFAULT_TOLERATIONS)
            more = self._cluster.default if defaults is None else defaults
        if pods.qos_class(pod) != "BestEffort":
            # Nodes short of memory take on pods that have asked for some.
            more = (*more, _MEMORY_PRESSURE)
        merged = _merged(pod.spec.tolerations, more)
        return pod if merged == pod.spec.tolerations else replace(pod, spec=replace(pod.spec, tolerations=merged))

    async def validate(self, request: AdmissionRequest) -> None:
        tolerations = request.new(Pod).spec.tolerations
        if not tolerations:
            return
        whitelist, scope = await self._tolerations(request, _WHITELIST), "namespace"
        if whitelist is None:
            whitelist, scope = self._cluster.whitelist, "cluster"
        if whitelist and not all(any(_includes(allowed, one) for allowed in whitelist) for one in tolerations):
            raise request.forbidden(
                f"pod tolerations (possibly merged with namespace default tolerations) conflict with its {scope}"
                " whitelist"
            )

    async def _tolerations(self, request: AdmissionRequest, annotation: str) -> tuple[Toleration, ...] | None:
        namespace = await self._reader.get(_NamespaceAnnotations, request.namespace)
        text = namespace.metadata.annotations.get(annotation)
        if not text:
            return None
        try:
            return msgspec.json.decode(text, type=tuple[Toleration, ...])
        except msgspec.DecodeError as error:
            raise request.forbidden(f"namespace annotation {annotation} does not parse: {error}") from error


def _merged(first: tuple[Toleration, ...], second: tuple[Toleration, ...]) -> tuple[Toleration, ...]:
    """All of them but those that another one includes; of equal ones the first."""
    every = (*first, *second)
    kept: list[Toleration] = []
    for index, one in enumerate(every):
        later = every[index + 1 :]
        if not any(_includes(other, one) for other in kept) and not any(
            other != one and _includes(other, one) for other in later
        ):
            kept.append(one)
    return tuple(kept)


def _includes(allowed: Toleration, one: Toleration) -> bool:
    """Whether the first tolerates all that the second does, and for as long."""
    if allowed == one:
        return True
    if one.key != allowed.key and (allowed.key or allowed.operator != "Exists"):
        return False
    if allowed.effect and allowed.effect != one.effect:
        return False
    seconds = allowed.toleration_seconds if allowed.effect == "NoExecute" else None
    if seconds is not None and (one.toleration_seconds is None or one.toleration_seconds > seconds):
        return False
    if allowed.operator == "Exists":
        return True
    return allowed.operator in ("", "Equal") and one.operator == "Equal" and allowed.value == one.value


class ExtendedResourceToleration(AdmissionPlugin):
    """Nodes with devices may be tainted by the device's name: pods that ask for the device tolerate it."""

    name = "ExtendedResourceToleration"
    resources = frozenset({"pods"})
    operations = frozenset({Operation.CREATE, Operation.UPDATE})

    async def admit(self, request: AdmissionRequest) -> Pod:
        pod = request.new(Pod)
        names = sorted(
            {
                name
                for container in (*pod.spec.containers, *pod.spec.init_containers)
                for name in container.resources.requests
                if "/" in name and not name.partition("/")[0].endswith("kubernetes.io")
            }
        )
        wanted = tuple(Toleration(key=name, operator="Exists") for name in names)
        missing = tuple(one for one in wanted if one not in pod.spec.tolerations)
        if not missing:
            return pod
        return replace(pod, spec=replace(pod.spec, tolerations=(*pod.spec.tolerations, *missing)))


class LimitPodHardAntiAffinityTopology(AdmissionPlugin):
    """Required anti-affinity keeps others off one node, not off a whole zone."""

    name = "LimitPodHardAntiAffinityTopology"
    resources = frozenset({"pods"})

    async def validate(self, request: AdmissionRequest) -> None:
        affinity = request.new(Pod).spec.affinity
        if affinity is None or affinity.pod_anti_affinity is None:
            return
        for term in affinity.pod_anti_affinity.required_during_scheduling_ignored_during_execution:
            if term.topology_key != _HOSTNAME:
                raise request.forbidden(
                    "affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey"
                    f" {term.topology_key} but only key {_HOSTNAME} is allowed"
                )
