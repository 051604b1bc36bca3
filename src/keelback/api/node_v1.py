"""The types of node/v1: shape, defaults and merge keys, one class per upstream type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from keelback.api.core_v1 import Toleration
from keelback.apimachinery.meta import Atomic, Object, Quantity, Value, kind, written


class Overhead(Value):
    pod_fixed: Mapping[str, Quantity] = {}


@kind("node.k8s.io/v1", "runtimeclasses", namespaced=False)
class RuntimeClass(Object):
    handler: str = written("")
    overhead: Overhead | None = None
    scheduling: Scheduling | None = None


class Scheduling(Value):
    node_selector: Annotated[Mapping[str, str], Atomic()] = {}
    tolerations: tuple[Toleration, ...] = ()
