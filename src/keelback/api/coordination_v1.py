"""The types of coordination/v1: shape, defaults and merge keys, one class per upstream type."""

from __future__ import annotations

from keelback.apimachinery.meta import MicroTime, Object, Value, kind, written


class LeaseSpec(Value):
    acquire_time: MicroTime | None = None
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    lease_transitions: int | None = None
    preferred_holder: str | None = None
    renew_time: MicroTime | None = None
    strategy: str | None = None


@kind("coordination.k8s.io/v1", "leases")
class Lease(Object):
    spec: LeaseSpec = written(LeaseSpec())
