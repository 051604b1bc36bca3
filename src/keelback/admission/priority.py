"""Priority: a pod's priority is its priority class's, and nobody writes the number itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest, Operation, Reader
from keelback.api.core_v1 import Pod, PodSpec
from keelback.api.scheduling_v1 import PriorityClass
from keelback.apimachinery import errors
from keelback.apimachinery.meta import replace
from keelback.apimachinery.remembered import remembered

_DEFAULT_PREEMPTION = "PreemptLowerPriority"


class Priority(AdmissionPlugin):
    """Resolves priority classes, and keeps at most one of them the default."""

    name = "Priority"
    resources = frozenset({"pods", "scheduling.k8s.io/priorityclasses"})
    operations = frozenset({Operation.CREATE, Operation.UPDATE})

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._with_rank = lru_cache(maxsize=32)(_with_rank)

    async def admit(self, request: AdmissionRequest) -> object:
        if not isinstance(request.obj, Pod):
            return request.obj
        pod = request.obj
        if request.operation is Operation.UPDATE:
            return _with_old_priority(pod, request.old(Pod))
        name, value, preemption = await self._resolve(request, pod.spec.priority_class_name)
        spec = pod.spec
        if spec.priority is not None and spec.priority != value:
            raise request.forbidden(
                f"the integer value of priority ({spec.priority}) must not be provided in pod spec; priority admission"
                f" controller computed {value} from the given PriorityClass name"
            )
        if spec.preemption_policy is not None and spec.preemption_policy != preemption:
            raise request.forbidden(
                f"the string value of PreemptionPolicy ({spec.preemption_policy}) must not be provided in pod spec;"
                f" priority admission controller computed {preemption} from the given PriorityClass name"
            )
        ranked = self._with_rank(_Rank(name, value, preemption))(spec)
        return pod if ranked is spec else replace(pod, spec=ranked)

    async def validate(self, request: AdmissionRequest) -> None:
        if not isinstance(request.obj, PriorityClass) or not request.obj.global_default:
            return
        for other in await self._reader.list(PriorityClass):
            if other.global_default and other.metadata.name != request.obj.metadata.name:
                raise request.forbidden(
                    f"PriorityClass {other.metadata.name} is already marked as default. Only one default can exist"
                )

    async def _resolve(self, request: AdmissionRequest, name: str) -> tuple[str, int, str]:
        if name:
            try:
                found = await self._reader.get(PriorityClass, name)
            except errors.NotFound:
                raise request.forbidden(f"no PriorityClass with name {name} was found") from None
            return name, found.value, found.preemption_policy
        defaults = [one for one in await self._reader.list(PriorityClass) if one.global_default]
        if not defaults:
            return "", 0, _DEFAULT_PREEMPTION
        # A race may leave several: the lowest is the safest.
        chosen = min(defaults, key=lambda one: one.value)
        return chosen.metadata.name, chosen.value, chosen.preemption_policy


class _Rank(NamedTuple):
    priority_class_name: str
    priority: int
    preemption_policy: str


def _with_rank(rank: _Rank) -> Callable[[PodSpec], PodSpec]:
    return remembered(lambda spec: replace(spec, **rank._asdict()))


def _with_old_priority(new: Pod, old: Pod) -> Pod:
    """Clients that do not know these fields drop them; they never change."""
    spec = new.spec
    if spec.priority is None and old.spec.priority is not None:
        spec = replace(spec, priority=old.spec.priority)
    if spec.preemption_policy is None and old.spec.preemption_policy is not None:
        spec = replace(spec, preemption_policy=old.spec.preemption_policy)
    return new if spec is new.spec else replace(new, spec=spec)
