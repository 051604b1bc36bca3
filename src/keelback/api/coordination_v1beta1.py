"""The types of coordination/v1beta1: shape, defaults and merge keys, one class per upstream type."""

from __future__ import annotations

from keelback.apimachinery.meta import MicroTime, Object, Value, kind, written


class LeaseCandidateSpec(Value):
    binary_version: str = written("")
    emulation_version: str = ""
    lease_name: str = written("")
    ping_time: MicroTime | None = None
    renew_time: MicroTime | None = None
    strategy: str = written("")


@kind("coordination.k8s.io/v1beta1", "leasecandidates")
class LeaseCandidate(Object):
    spec: LeaseCandidateSpec = written(LeaseCandidateSpec())
