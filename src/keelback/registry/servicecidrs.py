"""ServiceCIDRs: at most one range per family. A range never changes, a second one may be added."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.api.networking_v1 import ServiceCIDR
from keelback.apimachinery import addresses
from keelback.apimachinery.errors import FieldError, invalid, required
from keelback.registry.internal_forms import internal
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import text

_MOST = 2
_IMMUTABLE = "field is immutable"


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
        if len(cidrs) > _MOST:
            yield invalid("spec.cidrs", internal(new.spec), "may only hold up to 2 values")
            return
        for index, cidr in enumerate(cidrs):
            for complaint in addresses.canonical_cidr(cidr):
                yield invalid(f"spec.cidrs[{index}]", cidr, complaint)
        families = [found.version for found in map(addresses.subnet, cidrs) if found is not None]
        if families in ([4, 4], [6, 6]):
            problem = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
            yield invalid("spec.cidrs", list(cidrs), problem)

    def validate_update(self, new: ServiceCIDR, old: ServiceCIDR) -> Iterator[FieldError]:
        cidrs, before = new.spec.cidrs, old.spec.cidrs
        if len(cidrs) == len(before):
            for index, (cidr, kept) in enumerate(zip(cidrs, before, strict=True)):
                if cidr != kept:
                    yield invalid(f"spec.cidrs[{index}]", cidr, _IMMUTABLE)
        elif (len(before), len(cidrs)) == (1, _MOST):
            # One family may become two.
            if cidrs[0] != before[0]:
                yield invalid("spec.cidrs[0]", cidrs[0], _IMMUTABLE)
            yield from self.validate(new)
        else:
            yield invalid("spec.cidrs", list(cidrs), _IMMUTABLE)
