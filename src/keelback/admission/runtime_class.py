"""RuntimeClass: a pod takes over the overhead and the placement of its runtime class."""

from __future__ import annotations

from collections.abc import Mapping

from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest, Reader
from keelback.api.core_v1 import Pod, PodSpec
from keelback.api.node_v1 import RuntimeClass
from keelback.apimachinery import errors, quantity
from keelback.apimachinery.meta import replace


class RuntimeClassPlugin(AdmissionPlugin):
    """Merges the class into the pod, or refuses where they disagree."""

    name = "RuntimeClass"
    resources = frozenset({"pods"})

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def admit(self, request: AdmissionRequest) -> Pod:
        pod = request.new(Pod)
        runtime_class = await self._runtime_class(request, pod.spec)
        if runtime_class is None:
            return pod
        spec = _with_overhead(request, pod.spec, runtime_class)
        spec = _with_scheduling(request, spec, runtime_class)
        return pod if spec is pod.spec else replace(pod, spec=spec)

    async def validate(self, request: AdmissionRequest) -> None:
        pod = request.new(Pod)
        runtime_class = await self._runtime_class(request, pod.spec)
        overhead = runtime_class.overhead if runtime_class is not None else None
        if pod.spec.overhead and overhead is None:
            raise request.forbidden(
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
            )
        if overhead is not None and not _same_amounts(pod.spec.overhead, overhead.pod_fixed):
            raise request.forbidden("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")

    async def _runtime_class(self, request: AdmissionRequest, spec: PodSpec) -> RuntimeClass | None:
        if not spec.runtime_class_name:
            return None
        try:
            return await self._reader.get(RuntimeClass, spec.runtime_class_name)
        except errors.NotFound:
            raise request.forbidden(f'pod rejected: RuntimeClass "{spec.runtime_class_name}" not found') from None


def _with_overhead(request: AdmissionRequest, spec: PodSpec, runtime_class: RuntimeClass) -> PodSpec:
    overhead = runtime_class.overhead
    if overhead is None:
        return spec
    if spec.overhead and not _same_amounts(spec.overhead, overhead.pod_fixed):
        raise request.forbidden("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")
    return replace(spec, overhead=overhead.pod_fixed)


def _with_scheduling(request: AdmissionRequest, spec: PodSpec, runtime_class: RuntimeClass) -> PodSpec:
    scheduling = runtime_class.scheduling
    if scheduling is None:
        return spec
    for key, value in scheduling.node_selector.items():
        theirs = spec.node_selector.get(key, value)
        if theirs != value:
            raise request.forbidden(
                f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value};"
                f" pod.spec.nodeSelector[{key}] = {theirs}"
            )
    tolerations = (*spec.tolerations, *(one for one in scheduling.tolerations if one not in spec.tolerations))
    return replace(spec, node_selector={**spec.node_selector, **scheduling.node_selector}, tolerations=tolerations)


def _same_amounts(left: Mapping[str, str], right: Mapping[str, str]) -> bool:
    return left.keys() == right.keys() and all(quantity.compare(value, right[key]) == 0 for key, value in left.items())
