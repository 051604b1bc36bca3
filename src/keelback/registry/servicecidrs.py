"""ServiceCIDRs: at most one range per family, never changed."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.api.networking_v1 import ServiceCIDR
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, invalid, required
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import text


class ServiceCIDRStrategy(Strategy[ServiceCIDR]):
    kind = ServiceCIDR
    counts_generations = False
    subresources = ("status",)
    columns = (text("CIDRs", lambda one: ",".join(one.spec.cidrs)), AGE)

    def validate(self, new: ServiceCIDR) -> Iterator[FieldError]:
        cidrs = new.spec.cidrs
        if not cidrs:
            yield required("spec.cidrs", "at least one CIDR required")
            return
        if len(cidrs) > 2:
            yield invalid("spec.cidrs", list(cidrs), "may only hold up to 2 values")
        if len(cidrs) > 1 and (":" in cidrs[0]) == (":" in cidrs[1]):
            yield invalid("spec.cidrs", list(cidrs), "may specify no more than one IP for each IP family")
        for index, cidr in enumerate(cidrs):
            for complaint in names.cidr(cidr):
                yield invalid(f"spec.cidrs[{index}]", cidr, complaint)

    def validate_update(self, new: ServiceCIDR, old: ServiceCIDR) -> Iterator[FieldError]:
        if new.spec.cidrs != old.spec.cidrs:
            yield invalid("spec.cidrs", list(new.spec.cidrs), "field is immutable")
