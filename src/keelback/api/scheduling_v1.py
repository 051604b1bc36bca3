"""The types of scheduling/v1: shape, defaults and merge keys, one class per upstream type."""

from __future__ import annotations

from keelback.apimachinery.meta import Object, kind, written


@kind("scheduling.k8s.io/v1", "priorityclasses", namespaced=False, short_names=("pc",))
class PriorityClass(Object):
    description: str = ""
    global_default: bool = False
    preemption_policy: str = written("PreemptLowerPriority")
    value: int = 0
