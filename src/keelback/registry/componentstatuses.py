"""ComponentStatuses: nothing that is stored, an old answer to whether the parts of the control plane live."""

from __future__ import annotations

from datetime import datetime

from keelback.api.coordination_v1 import Lease
from keelback.api.core_v1 import ComponentCondition, ComponentStatus
from keelback.apimachinery.meta import ObjectMeta
from keelback.registry.strategy import Strategy
from keelback.registry.workloads import text

HEALTHY = "Healthy"
_UNKNOWN = "Unknown"


def _condition(status: ComponentStatus) -> ComponentCondition:
    return next((one for one in status.conditions if one.type == HEALTHY), ComponentCondition())


def _word(status: ComponentStatus) -> str:
    value = _condition(status).status
    return {"True": HEALTHY, "False": "Unhealthy"}.get(value, _UNKNOWN)


class ComponentStatusStrategy(Strategy[ComponentStatus]):
    kind = ComponentStatus
    deprecation_warning = "v1 ComponentStatus is deprecated in v1.19+"
    verbs = ("get", "list")
    columns = (
        text("Status", _word),
        text("Message", lambda one: _condition(one).message),
        text("Error", lambda one: _condition(one).error),
    )


def healthy(component: str) -> ComponentStatus:
    """The status of a component that is known to live."""
    return _status(component, "ok", "")


def of_store(*, is_answering: bool) -> ComponentStatus:
    """The store's status, under the name that it has upstream."""
    return _status("etcd-0", "ok" if is_answering else "", "" if is_answering else "the store does not answer")


def of_lease(component: str, lease: Lease | None, now: datetime) -> ComponentStatus:
    """A component's status by the lease of its leader: upstream asks a port that components need not have here."""
    spec = None if lease is None else lease.spec
    if spec is None or spec.renew_time is None or not spec.holder_identity:
        return _status(component, "", "nobody leads")
    age = (now - datetime.fromisoformat(spec.renew_time)).total_seconds()
    if age > (spec.lease_duration_seconds or 0):
        return _status(component, "", f"the leader has not renewed its lease for {int(age)} seconds")
    return healthy(component)


def _status(name: str, message: str, error: str) -> ComponentStatus:
    condition = ComponentCondition(type=HEALTHY, status="False" if error else "True", message=message, error=error)
    return ComponentStatus(metadata=ObjectMeta(name=name), conditions=(condition,))
