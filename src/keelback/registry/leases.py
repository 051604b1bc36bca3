"""Leases: a PUT creates them, and one without a version is refused."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.api.coordination_v1 import Lease
from keelback.apimachinery.errors import FieldError, forbidden, invalid
from keelback.apimachinery.meta import replace
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import text


class LeaseStrategy(Strategy[Lease]):
    kind = Lease
    bare_finalizers = True
    is_created_by_update = True
    needs_resource_version_to_update = True
    counts_generations = False
    columns = (text("Holder", lambda one: one.spec.holder_identity or ""), AGE)

    def prepare_for_create(self, new: Lease) -> Lease:
        return _uncoordinated(new)

    def prepare_for_update(self, new: Lease, old: Lease) -> Lease:
        is_used = old.spec.strategy is not None or old.spec.preferred_holder is not None
        return new if is_used else _uncoordinated(new)

    def validate(self, new: Lease) -> Iterator[FieldError]:
        spec = new.spec
        if spec.lease_duration_seconds is not None and spec.lease_duration_seconds <= 0:
            yield invalid("spec.leaseDurationSeconds", spec.lease_duration_seconds, "must be greater than 0")
        if spec.lease_transitions is not None and spec.lease_transitions < 0:
            yield invalid("spec.leaseTransitions", spec.lease_transitions, "must be greater than or equal to 0")
        if spec.strategy is None and spec.preferred_holder:
            yield forbidden("spec.preferredHolder", "may only be specified if `strategy` is defined")


def _uncoordinated(lease: Lease) -> Lease:
    """The lease without what belongs to coordinated leader election, a feature that is off (KEP-4355)."""
    if lease.spec.strategy is None and lease.spec.preferred_holder is None:
        return lease
    return replace(lease, spec=replace(lease.spec, strategy=None, preferred_holder=None))
