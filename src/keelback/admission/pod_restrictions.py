"""Small pod plugins that are off by default: tolerations a namespace allows, tolerations for extended resources, and
the topology of required anti-affinity."""

from __future__ import annotations

import msgspec

from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest, Operation, Reader
from keelback.api.core_v1 import Namespace, Pod, Toleration
from keelback.apimachinery.meta import Object, narrow, replace

_DEFAULT_TOLERATIONS = "scheduler.alpha.kubernetes.io/defaultTolerations"
_WHITELIST = "scheduler.alpha.kubernetes.io/tolerationsWhitelist"
_HOSTNAME = "kubernetes.io/hostname"


@narrow(Namespace)
class _NamespaceAnnotations(Object):
    """A namespace, of which only the annotations are of interest."""


class PodTolerationRestriction(AdmissionPlugin):
    """Adds a namespace's default tolerations, and refuses those that its whitelist lacks."""

    name = "PodTolerationRestriction"
    resources = frozenset({"pods"})
    operations = frozenset({Operation.CREATE, Operation.UPDATE})

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def admit(self, request: AdmissionRequest) -> Pod:
        pod = request.new(Pod)
        if request.operation is Operation.UPDATE:
            return pod
        defaults = await self._tolerations(request, _DEFAULT_TOLERATIONS)
        missing = tuple(one for one in defaults or () if one not in pod.spec.tolerations)
        if not missing:
            return pod
        return replace(pod, spec=replace(pod.spec, tolerations=(*pod.spec.tolerations, *missing)))

    async def validate(self, request: AdmissionRequest) -> None:
        whitelist = await self._tolerations(request, _WHITELIST)
        if whitelist and not all(
            any(_includes(allowed, one) for allowed in whitelist) for one in request.new(Pod).spec.tolerations
        ):
            raise request.forbidden(
                "pod tolerations (possibly merged with namespace default tolerations) conflict with its namespace"
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


def _includes(allowed: Toleration, one: Toleration) -> bool:
    if allowed.key and allowed.key != one.key:
        return False
    if allowed.effect and allowed.effect != one.effect:
        return False
    return allowed.operator == "Exists" or (one.operator != "Exists" and allowed.value == one.value)


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
